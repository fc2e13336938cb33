"""Tests lie where the modules lie, so that who changes a module finds what holds it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def stems(folder, pattern="*.py"):
    """Names of modules or of their tests; ``__main__`` is ``main``."""
    return {path.stem.removeprefix("test_").strip("_") for path in (ROOT / folder).glob(pattern)} - {"init"}


PACKAGES = sorted(path.parent.name for path in (ROOT / "common").glob("*/__init__.py"))


def test_all_modules_are_in_packages():
    assert {path.name for path in (ROOT / "common").glob("*.py")} == {"__init__.py"}
    assert {path.parent.parent for path in (ROOT / "common").rglob("*.py")} <= {ROOT, ROOT / "common"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_module_has_a_file_of_tests(package):
    assert not stems(f"common/{package}") - stems(f"tests/{package}", "test_*.py")


def test_no_module_is_longer_than_400_lines():
    sources = (path for folder in ("common", "apps", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert not {name: length for name, length in lengths.items() if length > 400}
