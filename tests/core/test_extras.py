"""What an optional package that is missing says, and that all else works without."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def test_the_extras_are_those_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package, extra in PACKAGES.values():
        assert re.search(rf'^{extra} = \["{package}>=', text, re.MULTILINE), extra
        assert not re.search(rf'^    "{package}>=', text, re.MULTILINE), f"{package} is an ordinary dependency too"


def test_no_module_imports_an_extra_when_it_is_imported():
    """The packages of the extras are imported where they are used, or in modules that only those import."""
    pattern = re.compile(rf"^(?:import|from) (?:{'|'.join(PACKAGES)})\b", re.MULTILINE)
    found = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "common").rglob("*.py")
        if pattern.search(p.read_text(encoding="utf-8"))
    }
    assert found == {"common/cardiac_motion/strain_pipeline/report/sr_content.py"}
    code = "import sys, cardiac_motion.strain_pipeline.report.report_files; assert 'highdicom' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=900)
