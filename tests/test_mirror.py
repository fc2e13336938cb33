"""Tests lie where the modules lie, so that who changes a module finds what holds it."""

import ast
from collections import Counter
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


HOMONYMS = {"Stage": "a stage of a network, and what is known after a scale of a registration"}
VAGUE = {"found", "told", "asked", "alone", "apart", "likeness", "shades"}  # names that say nothing of what is done


def definitions(*kinds):
    """Names of the classes or functions of all modules, methods too."""
    sources = (path for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    return [n.name for path in sources for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, kinds)]


def test_a_class_has_a_name_of_its_own():
    sources = (ROOT / "common").rglob("*.py")
    names = [n.name for path in sources for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
    assert {name for name, count in Counter(names).items() if count > 1} == set(HOMONYMS)


def test_names_say_what_is_done():
    assert not VAGUE & set(definitions(ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    assert not VAGUE & {path.stem for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*")}
