"""Text files are UTF-8 whatever the machine's locale: every call that reads or writes text names its encoding."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for folder in ("common", "apps", "benchmarks", "tests") for p in (ROOT / folder).rglob("*.py"))
TEXT_METHODS = {"read_text": 0, "write_text": 1}  # and the arguments that they have without an encoding


def without_encoding(source: str) -> list[int]:
    """Lines of the calls in a source that read or write text in the encoding of the locale."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or any(k.arg in ("encoding", None) for k in call.keywords):
            continue
        if isinstance(call.func, ast.Attribute) and call.func.attr in TEXT_METHODS:
            text = len(call.args) <= TEXT_METHODS[call.func.attr]
        elif isinstance(call.func, ast.Name) and call.func.id == "open":
            modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
            text = not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
        else:
            text = False
        if text:
            found.append(call.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("open('a')", [1]), ("open('a', 'rb')", []), ("open('a', mode='wb')", []), ("open('a', encoding='utf-8')", []),
        ("\np.read_text()", [2]), ("p.write_text('x')", [1]), ("p.write_text('x', encoding='utf-8')", []),
    ],
)  # fmt: skip
def test_calls_are_found(source: str, lines: list[int]) -> None:
    assert without_encoding(source) == lines


def test_every_text_file_names_its_encoding() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert len(SOURCES) > 300 and wrong == []
