"""Every public function of the packages that others build on has an example, which the fast suite runs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "volume", "networks", "comparators", "fields", "haemodynamics", "ventricle", "registration")
WITHOUT = {  # what they do is done to the process, or to a store of MLflow
    "core/account": {"ensure_user_name"},
    "core/bars": {"show_step"},
    "core/errors": {"tolerate_terminal", "install_error_hook"},
    "core/memory": {"keep_freed_memory"},
    "core/run_settings": {"note_settings", "noted_settings", "noted_case_settings"},
    "core/tracking": {
        "tracking_store", "viewing_command", "versions", "record_id", "keep", "read_records", "send_or_keep", "send",
        "rows_of_columns", "main",
    },
}  # fmt: skip
MODULES = [path for package in PACKAGES for path in sorted((ROOT / "common/cardiac_motion" / package).glob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_public_function_has_an_example(path):
    functions = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)]
    public = [f for f in functions if not f.name.startswith("_")]
    without = {f.name for f in public if ">>>" not in (ast.get_docstring(f) or "")}
    assert without == WITHOUT.get(f"{path.parent.name}/{path.stem}", set())
