"""MONAI Label's app is run where it is."""

import subprocess
import sys

import pytest

from cardiac_motion.command import label
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT


def test_the_app_is_run_with_the_words(monkeypatch, tmp_path):
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "call", lambda command: ran.append(command) or 7)
    assert label.run_label(["--port", "1"]) == 7
    assert ran == [[sys.executable, str(ROOT / "apps/monailabel"), "--port", "1"]]


def test_without_the_repository_it_says_where_the_app_is(monkeypatch, tmp_path):
    monkeypatch.setattr(label, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not in the wheel"):
        label.run_label([])
