"""Every public function of the packages that others build on has an example, which the fast suite runs.

So has what ``cine``, ``evaluation`` and ``simulation`` export, functions and classes.
"""

import ast
import importlib
import inspect
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
EXPORTED_WITHOUT = {
    "cine": set(),
    "evaluation": {  # a base class, its events and what it returns, one that needs atlases, one that needs MLflow
        "CaseEvaluator", "CaseEvents", "CineReport", "Report", "RunRecord", "TrackedContour", "VolumeEvaluator",
        "VolumeReport",
    },
    "simulation": set(),
}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_public_function_has_an_example(path):
    functions = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)]
    public = [f for f in functions if not f.name.startswith("_")]
    without = {f.name for f in public if ">>>" not in (ast.get_docstring(f) or "")}
    assert without == WITHOUT.get(f"{path.parent.name}/{path.stem}", set())


@pytest.mark.parametrize("package", EXPORTED_WITHOUT)
def test_every_export_has_an_example(package):
    module = importlib.import_module(f"cardiac_motion.{package}")
    exported = {name: getattr(module, name) for name in module.__all__}
    described = {name: one for name, one in exported.items() if inspect.isfunction(one) or inspect.isclass(one)}
    without = {name for name, one in described.items() if ">>>" not in (one.__doc__ or "")}
    assert described and without == EXPORTED_WITHOUT[package]
