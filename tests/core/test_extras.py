"""What an optional package that is missing says, and that all else works without."""

import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

from cardiac_motion.cine.write import write_cine
from cardiac_motion.cohort.cluster import make_job_cluster
from cardiac_motion.comparators.ants import AntsRegistration
from cardiac_motion.comparators.convexadam import ConvexAdam
from cardiac_motion.comparators.fft_xcorr import FFTXCorr
from cardiac_motion.comparators.fireants import FireAnts
from cardiac_motion.comparators.greedy import GreedyRegistration
from cardiac_motion.comparators.piv import ParticleImageVelocimetry
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import PACKAGES, import_extra
from cardiac_motion.strain_pipeline.report.dicom_sr import write_sr

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without(monkeypatch):
    """Make the optional packages unimportable."""
    for module in list(sys.modules):
        if module.partition(".")[0] in PACKAGES:
            monkeypatch.delitem(sys.modules, module)

    class Missing:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] in PACKAGES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing, *sys.meta_path])


def ask_for_slurm(folder):
    (folder / "slurm.yaml").write_text(yaml.safe_dump({"jobs": 1, "cores": 1, "memory": "1GB"}), encoding="utf-8")
    make_job_cluster("slurm", folder / "slurm.yaml")


@pytest.mark.parametrize(
    ("use", "package", "extra"),
    [
        (lambda folder: AntsRegistration(), "antspyx", "ants"),
        (lambda folder: FFTXCorr(), "pymust", "simulation"),
        (lambda folder: ParticleImageVelocimetry(), "openpiv", "piv"),
        (lambda folder: GreedyRegistration(), "picsl_greedy", "greedy"),
        (lambda folder: ConvexAdam(), "convexAdam", "convexadam"),
        (lambda folder: FireAnts(), "fireants", "fireants"),
        (ask_for_slurm, "dask-jobqueue", "cluster"),
        (lambda folder: import_extra("highdicom", "a report"), "highdicom", "dicom"),
    ],
)
def test_a_missing_package_ends_in_one_line(use, package, extra, without, tmp_path):
    with pytest.raises(InputError, match=rf"needs {package}, which is not installed.*\[{extra}\]") as caught:
        use(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_report_that_cannot_be_written_is_left_out_and_said(without, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        write_sr(tmp_path / "sr.dcm", [])
    assert "sr.dcm" in caplog.text and "cardiac-motion-bundles[dicom]" in caplog.text
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_imported():
    assert import_extra("highdicom", "x").__name__ == "highdicom"


def test_a_fault_inside_a_package_is_not_told_as_its_lack(monkeypatch, tmp_path):
    (tmp_path / "pymust.py").write_text("import a_package_that_nobody_has\n", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "pymust", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        import_extra("pymust", "block matching")


def names_of(requirements):
    """Packages of a list of requirements; the project's own extras are left."""
    return {re.split(r"[\[<>=; ]", line)[0] for line in requirements}


def test_the_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core, extras = names_of(project["dependencies"]), project["optional-dependencies"]
    for package, extra in PACKAGES.values():
        assert package in names_of(extras[extra]), extra
        assert package not in core, f"{package} is an ordinary dependency too"
    known = {package for package, _ in PACKAGES.values()} | {"cardiac-motion-bundles"}
    servers = {"serving", "workbench"}  # whose packages only they import
    others = {name for extra, lines in extras.items() if extra not in servers for name in names_of(lines)}
    assert others <= known, "what an extra brings is named when it is missing"


IMPORTED_AT_ONCE = {  # whose package asks for its extra when it is imported
    "cohort", "workbench",
}  # fmt: skip


def test_no_module_imports_an_extra_when_it_is_imported():
    """The packages of the extras are imported where they are used, or in modules that only those import."""
    pattern = re.compile(rf"^(?:import|from) (?:{'|'.join(PACKAGES)})\b", re.MULTILINE)
    found = {
        p.relative_to(ROOT / "common/cardiac_motion").as_posix()
        for p in (ROOT / "common").rglob("*.py")
        if pattern.search(p.read_text(encoding="utf-8"))
    }
    elsewhere = {name for name in found if name.split("/")[0] not in IMPORTED_AT_ONCE}
    assert elsewhere == {"strain_pipeline/report/sr_content.py"}


WITHOUT = '''
import json, sys

hidden = set(json.loads(sys.argv[1]))
class Others:
    """A finder that knows nothing of the hidden packages."""
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Others(finder) for finder in sys.meta_path]

import numpy as np, torch
import cardiac_motion as cm
folder = sys.argv[2]
'''


def run_without(code, tmp_path, *kept):
    """Run code in a process in which no package of an extra can be imported, but those that are kept."""
    hidden = json.dumps(sorted(set(PACKAGES) - set(kept)))
    command = [sys.executable, "-c", WITHOUT + code, hidden, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_api_runs_on_arrays_and_nifti_without_any_extra(tmp_path):
    code, out, error = run_without(
        """
from cardiac_motion.volume.phantom import phantom
import nibabel, os

moving = torch.rand(3, 48, 56)
for method in ("ncc_flow", "nmsr", "ilk", "tvl1"):
    options = {"steps": 1, "radius": 2} if method == "nmsr" else {}
    result = cm.register(moving, method, **options)
assert cm.warp(moving[:1, None], result.ddf[:1]).shape == (1, 1, 48, 56)
cm.save_itk_transform(f"{folder}/warp.nii.gz", result.ddf[0], spacing=(1, 1))
cm.load_itk_transform(f"{folder}/warp.nii.gz")
cm.write_cine(f"{folder}/cine.nii.gz", moving[None])
assert cm.read_cine(f"{folder}/cine.nii.gz").shape == (1, 3, 48, 56)
for part in ("imagesTr", "labelsTr"):
    os.mkdir(f"{folder}/{part}")
for number in range(3):
    for part, values in zip(("imagesTr", "labelsTr"), phantom(number)):
        values = values.astype("uint8") if part == "labelsTr" else values
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), f"{folder}/{part}/{number}.nii.gz")
volume = f"{folder}/imagesTr/0.nii.gz"
assert cm.read_volume(volume).dim() == 4
labels = cm.segment_hippocampus(volume, folder, steps=1, candidates=2)
assert set(labels.volumes) == {"head", "body"}
assert cm.load("strain_pipeline", "segment") is not None
print(len(cm.list_bundles()) >= 16)
""",
        tmp_path,
    )
    assert code == 0, error[-3000:]
    assert out.split()[-1] == "True"


def test_strain_is_measured_without_any_extra_and_a_report_names_what_it_needs(tmp_path):
    """Of a few frames' size, so that it is quick; whether they pass the checks does not matter here."""
    code, out, error = run_without(
        """
result = cm.measure_strain(longest=96, segment_stride=3, ignore_checks=True, ed=20, es=29)
print(result.view.name, len(result.segments))
try:
    result.report(f"{folder}/report")
except cm.InputError as error:
    print(error)
""",
        tmp_path,
    )
    assert code == 0, error[-3000:]
    assert "apical_4ch 6" in out and "opencv-python-headless, which is not installed" in out
    assert not list(tmp_path.iterdir())


NEEDS = {
    "cm.register(torch.rand(2, 32, 32), 'dis')": "opencv-python-headless",
    "cm.register(torch.rand(2, 32, 32), 'farneback')": "opencv-python-headless",
    "cm.write_cine(f'{folder}/b.mp4', torch.rand(1, 3, 32, 32))": "av",
    "cm.read_cine(folder + '/a.mp4')": "av",
    "cm.read_cine(folder + '/a.nrrd')": "pynrrd",
    "cm.load('a/b')": "huggingface_hub",
    "importlib.import_module('cardiac_motion.cohort')": "distributed",
    "importlib.import_module('cardiac_motion.workbench')": "starlette",
    "plots.plt.figure()": "matplotlib",
}


def test_what_is_missing_is_named_when_it_is_needed(tmp_path):
    """All in one process, whose start takes longest."""
    write_cine(tmp_path / "a.mp4", torch.rand(1, 3, 32, 32))
    (tmp_path / "a.nrrd").write_text("NRRD", encoding="utf-8")
    code, out, error = run_without(
        f"""
import importlib
from cardiac_motion.core import plots
for code in {list(NEEDS)!r}:
    try:
        eval(code)
    except cm.InputError as error:
        print(error)
""",
        tmp_path,
    )
    assert code == 0, error
    for line, package in zip(out.strip().splitlines(), NEEDS.values(), strict=True):
        assert f" needs {package}, which is not installed" in line


def test_without_mlflow_a_run_is_kept_and_says_so(without, tmp_path, caplog, capsys):
    from cardiac_motion.core.tracking import Record, send_or_keep

    with caplog.at_level(logging.WARNING):
        assert not send_or_keep(tmp_path, Record("1", "e", "n"))
    assert "cardiac-motion-bundles[mlflow]" in caplog.text and (tmp_path / "record.json").is_file()


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["cardiac_motion.cohort"], "distributed", "cluster"),
        (["cardiac_motion.compare"], "distributed", "cluster"),
        (["cardiac_motion.workbench"], "starlette", "workbench"),
        (["cardiac_motion.command", "cohort"], "distributed", "cluster"),
        (["cardiac_motion.command", "workbench"], "starlette", "workbench"),
    ],
    ids=" ".join,
)
def test_a_program_without_its_extra_names_it_in_one_line(words, package, extra, tmp_path):
    code = WITHOUT.partition("import numpy")[0] + (
        "import runpy\nname, *sys.argv[1:] = sys.argv[2:]\n"
        "runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(PACKAGES)), *words],
        capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, "TRACEBACK": ""},
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and f"needs {package}, which is not installed" in line and f"[{extra}]" in line
