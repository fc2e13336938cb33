"""The verbs, their help, and what every exit code means."""

import json
import re
import subprocess
import sys
import tomllib

import pytest

import cardiac_motion
from cardiac_motion.command import main
from cardiac_motion.command.main import COMMANDS, find_function, run_command
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT


def test_the_program_is_the_projects_only_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"cardiac-motion": "cardiac_motion.command.main:run_command"}


def test_it_starts_without_torch():
    code = "import sys; from cardiac_motion.command.main import run_command; run_command(['--help']); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "False"


def test_version_and_overview(capsys):
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"cardiac-motion {cardiac_motion.__version__}\n"
    assert run_command(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in COMMANDS) and "130 interrupted" in " ".join(out.split())
    assert run_command([]) == 2


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if verb != "label"])
def test_every_verb_has_help_that_names_it(verb, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run_command([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: cardiac-motion {verb}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["strian"], "error: cardiac-motion: unknown verb strian; did you mean strain?"),
        (["--vers"], "error: cardiac-motion: has no option --vers; did you mean --version?"),
        (["track", "--meth", "dis"], "error: cardiac-motion track: has no option --meth; did you mean --method?"),
        (["track", "a", "--out", "b"], "error: cardiac-motion track: has no option --out; did you mean --output_dir?"),
        (["strain", "--veiw", "x"], "error: cardiac-motion strain: has no option --veiw; did you mean --view?"),
        (["segment", "--stps=3"], "error: cardiac-motion segment: has no option --stps; did you mean --steps?"),
        (["blood", "--time_sig", "1"], "error: cardiac-motion blood: has no option --time_sig; did you mean --time_si"),
        (["compare", "--bundle", "a"], "error: cardiac-motion compare: has no option --bundle; did you mean --bundles"),
        (["bundles", "lst"], "error: argument COMMAND: invalid choice: 'lst'"),
        (["register", "a"], "error: the following arguments are required: FIXED"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_in_one_line_and_code_2(words, line, capsys, tmp_path):
    assert run_command(words) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(line)


def test_bad_input_is_code_1(capsys, tmp_path):
    assert run_command(["track", str(tmp_path / "no.dcm"), "--method", "ilk", "--output_dir", str(tmp_path / "o")]) == 1
    assert "no such file" in capsys.readouterr().err.splitlines()[-1]
    assert run_command(["track", "--method", "nmrs"]) == 1
    assert "did you mean nmsr" in capsys.readouterr().err
    assert run_command(["strain", "--bundles", str(tmp_path)]) == 1
    assert re.search(r"^error: strain_pipeline: no bundles in .*--bundles DIR", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (None, 0), (3, 3), (SystemExit(3), 3), (SystemExit("error: x"), 1), (InputError("a: b"), 1),
        (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_exit_codes(result, code, monkeypatch, capsys):
    def do(words, prog):
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(main, "find_function", lambda place: do)
    assert run_command(["cohort"]) == code


def test_a_defect_keeps_its_traceback(monkeypatch):
    def do(words, prog):
        raise ZeroDivisionError

    monkeypatch.setattr(main, "find_function", lambda place: do)
    with pytest.raises(ZeroDivisionError):
        run_command(["cohort"])


def test_what_verbs_name_is_there():
    for command in COMMANDS.values():
        assert callable(find_function(command.function)) and (command.parser is None or find_function(command.parser))


def test_options_of_a_verb_are_those_of_the_configuration():
    from cardiac_motion.command.bundle_commands import strain_parser

    config = json.loads((ROOT / "bundles/strain_pipeline/configs/inference.json").read_text(encoding="utf-8"))
    names = list(config)[: list(config).index("weights")]
    options = set(strain_parser()._option_string_actions)
    assert {f"--{name}" for name in names if name not in ("bundle_root", "input")} <= options
