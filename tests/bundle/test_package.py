"""Bundles outside the repository: what their zips hold, where a zipped bundle finds itself, and that it runs."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from cardiac_motion.bundle.package import bundle_folder, main, package
from cardiac_motion.core.errors import InputError, input_error_in
from tests.bundles.running import ROOT

BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir())
WHEEL = "cardiac_motion_bundles-0.1.0-py3-none-any.whl"
QUICK = {
    "ants_syn": "--candidates 1 --ants quick",
    "convexadam": "--candidates 1 --steps 2",
    "cpwc_echo": "--max_frames 3",
    "dis": "--max_frames 3",
    "farneback": "--max_frames 3",
    "fft_xcorr": "--max_frames 3",
    "fireants": "--candidates 1 --iterations [2,1,1]",
    "greedy": "--max_frames 3",
    "ilk": "--max_frames 3",
    "neurreg": "--candidates 2",
    "niftyreg": "--candidates 1 --steps 2",
    "nmsr_echo": "--max_frames 3 --steps 1",
    "ssmsr_hippocampus": "--candidates 2 --refined_candidates 1 --steps [1,1]",
    "strain_pipeline": "",
    "tvl1": "--max_frames 3",
    "voxelmorph": "--candidates 2",
}


@pytest.fixture(scope="module")
def unzipped(tmp_path_factory):
    """A folder in which all bundles were unzipped."""
    zips, folder = tmp_path_factory.mktemp("zips"), tmp_path_factory.mktemp("unzipped")
    for name in BUNDLES:
        with zipfile.ZipFile(package(ROOT / "bundles" / name, zips, WHEEL)) as file:
            file.extractall(folder)
    return folder


@pytest.mark.parametrize("name", BUNDLES)
def test_a_zip_is_whole(name, unzipped):
    folder, source = unzipped / name, ROOT / "bundles" / name
    for path in source.rglob("*"):
        assert (folder / path.relative_to(source)).exists()
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
        assert '"bundles/' not in path.read_text(encoding="utf-8"), "another bundle's files, or the repository's root"
    page = (folder / "docs/README.md").read_text(encoding="utf-8")
    assert f"pip install {WHEEL}" in page
    assert set(re.findall(r"[\w/]+/configs/\w+\.json", page)) <= {
        f"{name}/configs/{path.name}" for path in (folder / "configs").iterdir()
    }
    for page in folder.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).is_file(), f"{page}: {target}"
        for target in re.findall(r"[\w/]*\bdata_lists/\w+\.json", page.read_text(encoding="utf-8")):
            assert (unzipped / target).is_file()


def test_the_same_bundle_is_the_same_zip(tmp_path):
    first, second = (package(ROOT / "bundles/farneback", tmp_path / part, WHEEL).read_bytes() for part in "ab")
    assert first == second


@pytest.mark.parametrize(
    "words, found",
    [
        ("run --config_file here/NAME/configs/inference.json", "here/NAME"),
        ("run --config_file=here/NAME/configs/inference.json --seed 1", "here/NAME"),
        ("run --config_file ['here/NAME/configs/inference.json','here/NAME/configs/evaluate.json']", "here/NAME"),
        ("run --config-file ['own.json','here/NAME/configs/inference.json']", "here/NAME"),
        ("run --config_file own.json", None),
        ("serve", None),
    ],
)
def test_where_a_bundle_lies(words, found, tmp_path, monkeypatch):
    for place in ("here/NAME", "NAME"):
        (tmp_path / place / "configs").mkdir(parents=True)
        (tmp_path / place / "configs/metadata.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["monai.bundle", *words.split()])
    monkeypatch.chdir(tmp_path)
    assert bundle_folder("NAME") == (found or "NAME")
    if found is None:
        monkeypatch.chdir(tmp_path / "NAME")
        assert bundle_folder("NAME") == "."
    monkeypatch.chdir(tmp_path / "NAME/configs")
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "--config_file", "inference.json"])
    assert bundle_folder("NAME") == ".."


def test_a_bundle_that_cannot_be_found_is_one_line(unzipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--bundle_root FOLDER"):
        bundle_folder("voxelmorph")
    parser = ConfigParser()
    parser.read_config(unzipped / "voxelmorph/configs/inference.json")
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("network")
    assert "--bundle_root FOLDER" in str(input_error_in(caught.value))
    parser.update({"bundle_root": str(unzipped / "voxelmorph")})
    assert sum(p.numel() for p in parser.get_parsed_content("network").parameters()) > 1e5


def test_large_files_are_listed_and_lie_beside_the_zip(tmp_path, monkeypatch):
    monkeypatch.setattr("cardiac_motion.bundle.package.LARGE", 600_000)
    path = package(ROOT / "bundles/neurreg", tmp_path, WHEEL, "https://example.org/weights/")
    with zipfile.ZipFile(path) as file:
        assert "neurreg/models/model.pt" in file.namelist() and "neurreg/large_files.yml" not in file.namelist()
    monkeypatch.setattr("cardiac_motion.bundle.package.LARGE", 500_000)
    with zipfile.ZipFile(package(ROOT / "bundles/neurreg", tmp_path, WHEEL, "https://example.org/weights/")) as file:
        listed = yaml.safe_load(file.read("neurreg/large_files.yml"))["large_files"]
        assert not [name for name in file.namelist() if name.endswith(".pt")]
    assert [row["url"] for row in listed] == [
        f"https://example.org/weights/neurreg/models/{name}.pt" for name in ("model", "selector")
    ]
    for row in listed:
        data = (tmp_path / "large_files/neurreg" / row["path"]).read_bytes()
        assert data == (ROOT / "bundles/neurreg" / row["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["hash_val"]


def test_what_cannot_be_packed(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="no bundle"):
        package(tmp_path, tmp_path, WHEEL)
    monkeypatch.chdir(tmp_path)
    for arguments, reason in (([], "holds no wheel"), (["--output_dir", "there"], "no such folder")):
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "there" / WHEEL).touch()
        with pytest.raises(SystemExit, match=reason):
            main(arguments)
    (tmp_path / "bundles/x/configs").mkdir(parents=True)
    (tmp_path / "bundles/x/configs/metadata.json").write_text('{"version": "1"}', encoding="utf-8")
    (tmp_path / "bundles/x/configs/inference.json").write_text(
        '{"weights": "bundles/y/models/model.pt"}', encoding="utf-8"
    )
    with pytest.raises(
        SystemExit, match=r"inference\.json: names a file outside the bundle, bundles/y/models/model\.pt"
    ):
        main(["--output_dir", "there"])
    assert [path.name for path in (tmp_path / "there").iterdir()] == [WHEEL], "no half a zip"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Python of a fresh environment that has the project's wheel, beside the tests' packages, and an empty folder."""
    pytest.importorskip("build", reason="the package 'build' makes the wheel")
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, timeout=900)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=900)
    python = folder / "venv/bin/python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, timeout=900, capture_output=True, text=True).stdout.strip())
    here = {str(Path(pytest.__file__).parents[1]), *(path for path in sys.path if path.endswith("site-packages"))}
    (site / "tested_with.pth").write_text("\n".join(sorted(here)), encoding="utf-8")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
    ]
    subprocess.run([*install, str(next(folder.glob("*.whl")))], check=True, timeout=900)
    (folder / "empty").mkdir()
    return python, folder / "empty"


def test_what_is_not_code_is_in_the_wheel():
    """The tables and texts that modules read beside themselves; without them an installed project ends at the first."""
    patterns = re.findall(
        r'"([^"]+)"',
        re.search(r'package-data = \{ "\*" = \[(.+?)\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1],
    )
    files = [
        path
        for path in (ROOT / "common/cardiac_motion").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.stat().st_size
    ]
    assert {"shape_prior.json", "ventricle_prior.json", "app.js"} <= {path.name for path in files}
    for path in files:
        package = next(p for p in path.parents if (p / "__init__.py").is_file())
        assert any(path.relative_to(package).match(pattern) for pattern in patterns), path


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLES)
def test_a_zipped_bundle_runs_from_any_folder(name, unzipped, elsewhere):
    pytest.importorskip("fireants" if name == "fireants" else "torch", reason="an extra that is not in `all`")
    python, empty = elsewhere
    quiet = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ours = subprocess.run(
        [python, "-c", "import cardiac_motion; print(cardiac_motion.__file__)"], cwd=empty, env=quiet,
        capture_output=True, text=True, timeout=900, check=True,
    )  # fmt: skip
    assert Path(ours.stdout.strip()).is_relative_to(python.parents[1]), "the wheel, not the repository"
    command = ["-m", "monai.bundle", "run", "--config_file", str(unzipped / name / "configs/inference.json")]
    options = [*QUICK[name].split(), "--save_figures", "False", "--mlflow", "False"]
    done = subprocess.run(
        [python, *command, *options], cwd=empty, env=quiet, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert list((empty / "output" / name).glob("*/summary.json"))
