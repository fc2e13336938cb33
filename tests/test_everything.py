"""The list of all checks: every part is a tox environment, failures do not stop the others, the table names all."""

import re
import sys

import pytest

from tests import everything
from tests.bundles.running import ROOT


def test_every_part_is_an_environment():
    environments = set(re.findall(r"^\[testenv:(\S+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.M))
    assert {arguments[1] for arguments, _ in everything.PARTS.values()} <= environments
    checks = {name for name in environments if "test" in name or name in ("lint", "docs", "coverage", "zoo")}
    assert checks == {arguments[1] for arguments, _ in everything.PARTS.values()}


def test_the_others_run_after_a_failure(monkeypatch, capsys):
    codes = {"docs": 3, "zoo": 0}
    monkeypatch.setattr(
        everything, "PARTS", {name: ([str(code)], "") for name, code in codes.items()} | {"b": ([], "none")}
    )
    monkeypatch.setattr(sys, "executable", "ignored")
    ran = []

    def run(words, check):
        ran.append(words[-1])
        return type("Done", (), {"returncode": int(words[-1])})

    monkeypatch.setattr(everything.subprocess, "run", run)
    assert everything.main([]) == 1 and ran == ["3", "0"]
    table = capsys.readouterr().out.split("\n")
    assert re.match(r"docs +failed \(3\)", table[0]) and re.match(r"zoo +passed", table[1])
    assert re.match(r"b +not run \(no none\)", table[2])
    assert everything.main(["zoo"]) == 0 and "not asked for" in capsys.readouterr().out


def test_unknown_parts_are_refused(capsys):
    assert everything.main(["dcos"]) == 2 and "dcos" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["zoo", "everything"])
def test_contributing_names_it(name):
    assert f"tox run -e {name}" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
