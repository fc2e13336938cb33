"""Every public function of the packages that others build on has an example, which the fast suite runs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fields", "haemodynamics", "ventricle", "registration")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / "common/cardiac_motion" / package).glob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_public_function_has_an_example(path):
    functions = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)]
    public = [f for f in functions if not f.name.startswith("_")]
    assert not [f.name for f in public if ">>>" not in (ast.get_docstring(f) or "")]
