"""The script of a shell knows every verb and option."""

import shutil
import subprocess

import pytest

from cardiac_motion.command.completion import SHELLS, whole_parser
from cardiac_motion.command.main import COMMANDS, run_command
from tests.bundles.running import ROOT


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_has_verbs_and_options(shell, capsys, monkeypatch):
    pytest.importorskip("shtab")
    monkeypatch.chdir(ROOT)
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("strain", "segment_stride", "retries", "export"))
    if shell == "bash" and shutil.which("bash"):
        words = script + "\nCOMP_WORDS=(cardiac-motion stra); COMP_CWORD=1; _shtab_cardiac_motion; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["strain"], done.stderr


def test_a_verb_whose_bundle_is_missing_has_no_options(monkeypatch, tmp_path):
    from cardiac_motion.bundle import find

    monkeypatch.setattr(find, "search_folders", lambda folder=None: [tmp_path])
    (verbs,) = [action for action in whole_parser()._actions if action.dest == "verb"]
    assert set(verbs.choices) == set(COMMANDS) and "--view" not in verbs.choices["strain"]._option_string_actions


def test_an_unknown_shell_is_wrong_usage(capsys):
    assert run_command(["completion", "fish"]) == 2
