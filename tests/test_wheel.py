"""The wheel brings one top-level package, with everything that it reads."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.bundles.running import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Files of a wheel that is built from a copy."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "common", source / "common", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(source / "dist"),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_it_has_one_top_level_module(names):
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"cardiac_motion"} and len(top) == 2


def test_it_has_every_file_of_the_package(names):
    package = ROOT / "common/cardiac_motion"
    ours = {
        path.relative_to(ROOT / "common").as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours == {name for name in names if name.startswith("cardiac_motion/")}
