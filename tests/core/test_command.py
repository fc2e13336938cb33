"""Every command of the project: no abbreviations, and what is mistyped ends in one line that names the nearest."""

import importlib
from pathlib import Path

import pytest

from cardiac_motion.core.command import CommandParser, suggest_name

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {  # module: words of which the first is mistyped or cut short, and the option that was meant
    "cardiac_motion.strain_pipeline.validation.coverage": (["--data_lst", "a.json", "out"], "--datalist"),
    "cardiac_motion.strain_pipeline.validation.metamorphic": (
        ["--output", "a", "--bundle", "b", "--input", "c"],
        "--output_dir",
    ),
    "cardiac_motion.strain_pipeline.validation.repeatability": (["--cvs", "a.csv", "out"], "--csv"),
    "cardiac_motion.evaluation.agreement": (["--measur", "gls", "metrics.csv"], "--measure"),
    "cardiac_motion.bundle.package": (["--output", "dist"], "--output_dir"),
    "cardiac_motion.compare.__main__": (["--output", "a", "--bundles", "b", "--datalist", "c"], "--output_dir"),
    "cardiac_motion.simulation.__main__": (["write", "--output", "a"], "--output_dir"),
    "cardiac_motion.prove.__main__": (["--dta", "a"], "--data"),
    "cardiac_motion.workbench.__main__": (["--work", "a"], "--workspace"),
    "benchmarks.fuzz_readers": (["--minuts", "1"], "--minutes"),
    "benchmarks.simulation": (["--patient", "1"], "--patients"),
    "benchmarks.cohort": (["--halp"], "--help"),
}


def parsers():
    """Files that read a command line by argparse."""
    files = (path for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def module_of(name):
    return name.removeprefix("common/").removesuffix(".py").replace("/", ".")


def test_all_commands_share_one_reader():
    texts = parsers()
    del texts["common/cardiac_motion/core/command.py"]
    assert [name for name, text in texts.items() if "argparse.ArgumentParser(" in text] == []
    readers = ("= CommandParser(prog", "= CommandParser(\n")
    files = {name for name, text in texts.items() if any(word in text for word in readers)}
    # A cohort's further options are its bundle's, which checks them; MONAI Label has an environment of its own.
    elsewhere = {"cardiac_motion.cohort.__main__", "apps.monailabel.__main__"}
    elsewhere |= {m for m in map(module_of, files) if m.startswith("cardiac_motion.command.")}  # tests/command
    modules = set(map(module_of, files))
    assert modules == set(COMMANDS) | elsewhere


@pytest.mark.parametrize("module", COMMANDS)
def test_a_mistyped_option_of_every_command_is_one_line(module, capsys, tmp_path, monkeypatch):
    words, meant = COMMANDS[module]
    main = importlib.import_module(module).main
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    wrong = next(word for word in words if word.startswith("--"))
    assert ended.value.code == 2 and line.startswith("error: ")
    assert line.endswith(f": has no option {wrong}; did you mean {meant}?")
    assert not list(tmp_path.iterdir())


def test_a_cohort_leaves_no_abbreviation_either(capsys):
    from cardiac_motion.cohort.__main__ import arguments

    words = ["--bundle", "b", "--datalist", "l.json", "--output_dir", "o", "--work", "3"]
    options, own = arguments(words)
    assert options.workers == 0 and own == {"work": 3}
    with pytest.raises(SystemExit):
        arguments(["--bundle", "b", "--datalist", "l.json", "--output", "o"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "--output_dir" in line


@pytest.fixture
def parser():
    made = CommandParser(prog="p")
    made.add_argument("--output_dir")
    made.add_argument("--count", type=int)
    below = made.add_subparsers(dest="command", required=True)
    below.add_parser("write").add_argument("--levels", type=float, required=True)
    return made


def test_known_words_are_read(parser):
    read = parser.parse_args(["--output_dir=a b", "--count", "-3", "write", "--levels", "-1.5"])
    assert (read.output_dir, read.count, read.command, read.levels) == ("a b", -3, "write", -1.5)


@pytest.mark.parametrize(
    "words, line",
    [
        (["--output", "a", "write"], "error: p: has no option --output; did you mean --output_dir?"),
        (["write", "--level", "1"], "error: p write: has no option --level; did you mean --levels?"),
        (["write", "--output_dir", "1"], "error: p write: has no option --output_dir"),
        (["write", "--levels=x"], "error: argument --levels: invalid float value: 'x'; p write --help shows what"),
        (["write", "--levels", "1", "more"], "error: more: belongs to no option; p --help shows what there is"),
        (["write"], "error: the following arguments are required: --levels; p write --help shows what there is"),
        (["--count", "1"], "error: the following arguments are required: command; p --help shows what there is"),
    ],
)
def test_a_mistake_is_one_line(parser, words, line, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    (told,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and told.startswith(line)


def test_the_nearest_is_named_where_one_is_near():
    assert suggest_name("--stps", ["--steps", "--spacing"]) == "; did you mean --steps?"
    assert suggest_name("--stps", ["--output_dir"]) == suggest_name("--stps", []) == ""
