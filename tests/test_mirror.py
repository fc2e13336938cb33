"""Tests lie where the modules lie, so that who changes a module finds what holds it."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def stems(folder, pattern="*.py"):
    """Names of modules or of their tests; ``__main__`` is ``main``."""
    return {path.stem.removeprefix("test_").strip("_") for path in (ROOT / folder).glob(pattern)} - {"init"}


SHARED = ROOT / "common/cardiac_motion"
PACKAGES = sorted(path.parent.relative_to(SHARED).as_posix() for path in SHARED.glob("*/**/__init__.py"))
IN_THE_BROWSER = {"workbench"}  # tested as a person uses it, not module by module


def test_all_modules_are_in_packages():
    assert {path.name for path in SHARED.glob("*.py")} == {"__init__.py"}
    folders = {path.parent for path in SHARED.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
    assert max(len(folder.relative_to(SHARED).parts) for folder in folders) <= 2


@pytest.mark.parametrize("package", sorted(set(PACKAGES) - IN_THE_BROWSER))
def test_each_module_has_a_file_of_tests(package):
    assert not stems(f"common/cardiac_motion/{package}") - stems(f"tests/{package}", "test_*.py")


def test_no_module_is_longer_than_400_lines():
    sources = (path for folder in ("common", "apps", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert not {name: length for name, length in lengths.items() if length > 400}


HOMONYMS = {"Stage": "a stage of a network, and what is known after a scale of a registration"}


def test_a_class_has_a_name_of_its_own():
    sources = (ROOT / "common").rglob("*.py")
    names = [
        n.name
        for path in sources
        for n in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(n, ast.ClassDef)
    ]
    assert {name for name, count in Counter(names).items() if count > 1} == set(HOMONYMS)
