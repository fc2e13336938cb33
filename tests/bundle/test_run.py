"""``python -m cardiac_motion.bundle.run``: what monai.bundle run does, and one line for whatever is mistyped."""

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings

import pytest
from monai.bundle import create_workflow

from cardiac_motion.bundle.run import arguments, log_to_file, main, write_log
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT
from tests.conftest import moving_cine

FARNEBACK = "bundles/farneback/configs/inference.json"
QUICK = ["--save_figures", "False", "--mlflow", "False", "--levels", "1"]


@pytest.fixture
def call(monkeypatch, capfd):
    """``main`` of some words from the repository's root: the exit code and both outputs; the logging is put back."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    before = [(one, list(one.handlers), one.level, one.propagate) for one in loggers]

    def run(*words):
        with warnings.catch_warnings():
            code = main(list(words))
        return (code, *capfd.readouterr())

    yield run
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def test_monai_warns_before_it_opens_a_configuration(tmp_path):
    """So no bundle can silence it, ``bundle.run`` alone, or the environment: ``docs/concepts/bundles.md``."""
    missing = str(tmp_path / "none.json")
    with pytest.warns(UserWarning, match="^parsing config_file"), pytest.raises(FileNotFoundError):
        create_workflow(config_file=missing)
    code = "from monai.bundle import create_workflow; create_workflow(config_file='none.json')"
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore:parsing config_file"}
    said = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True, cwd=tmp_path)
    assert "FileNotFoundError" in said.stderr and "parsing config_file" not in said.stderr


def test_words_of_a_command():
    files = "['a.json','b.json']"
    words = ["train", "--config_file", files, "--config_file", "c.json", "d.json", "--steps=[1, 2]", "--input", "2024"]
    assert arguments([*words, "--checkpoint", "None", "--save_figures", "False", "--output-dir", "a#b $c"]) == {
        "run_id": "train", "config_file": ["a.json", "b.json", "c.json", "d.json"], "steps": [1, 2], "input": "2024",
        "checkpoint": None, "save_figures": False, "output_dir": "a#b $c",
    }  # fmt: skip


@pytest.mark.parametrize(
    "words, message",
    [
        (["--max_frames", "3", "4"], "4: belongs to no option"),
        (["--max_frames"], "--max_frames: needs a value"),
        (["--max_frames", "--seed", "1"], "--max_frames: needs a value"),
        (["--seed", "1", "--seed", "2"], "--seed: is given twice"),
    ],
)
def test_words_that_are_no_options(words, message):
    with pytest.raises(InputError, match=message):
        arguments(words)


def test_paths_as_they_are_written_and_our_words_first(call, tmp_path):
    """Signs that mean something to MONAI in folders and the file's name, a number as the output's."""
    folder = tmp_path / "$a#1 @b %c"
    folder.mkdir()
    cine, _ = moving_cine(3, (64, 72))
    write_cine(folder / "20240115.nii.gz", cine[None])
    out = tmp_path / "#$2024"
    out.mkdir()
    code, said, errors = call(
        "--config_file", FARNEBACK, "--input", str(folder / "20240115.nii.gz"), "--output_dir", str(out), *QUICK,
    )  # fmt: skip
    assert code == 0, errors
    assert json.loads((out / "20240115/summary.json").read_text(encoding="utf-8"))["source"] == str(
        folder / "20240115.nii.gz"
    )
    assert said.startswith(f"farneback: inference → {out}\n") and "eval()" not in said + errors
    assert "Logging file is set to False" not in errors
    assert "Logging file is set to False" in (out / "run.log").read_text(encoding="utf-8")


BAD = {
    "option": (["--config_file", FARNEBACK, "--inptu", "a"], "has no option --inptu; did you mean --input?"),
    "part": (["--config_file", FARNEBACK, "--inferer#bach_size", "1"], "did you mean --inferer#batch_size?"),
    "file": (["--config_file", FARNEBACK.replace("inference", "inferense")], "configs/inference.json?"),
    "bundle": (["--config_file", FARNEBACK.replace("farneback", "farnebak")], "bundles/farneback/configs"),
    "no file": (["--max_frames", "3"], "no --config_file FILE"),
    "no input": (["--config_file", FARNEBACK, "--input", "none.dcm"], "none.dcm: no such file"),
    "a dollar": (["--config_file", FARNEBACK, "--input", "$none/x.dcm"], "$none/x.dcm: no such file"),
    "an at": (["--config_file", FARNEBACK, "--input", "@none.dcm"], "@none.dcm: no such file"),
    "a percent": (["--config_file", FARNEBACK, "--input", "%none.dcm"], "%none.dcm: no such file"),
    "a value": (["--config_file", FARNEBACK, "--levels", "three"], "--levels three: expected a whole number from 1 on"),
    "what to run": (["train", "--config_file", FARNEBACK], "has no train to run"),
    "arguments": (["--args_file", "none.json", "--config_file", FARNEBACK], "none.json: no such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(call, name, tmp_path):
    words, message = BAD[name]
    code, _, errors = call(*words, "--output_dir", str(tmp_path / "out"))
    assert code == 1 and message in errors, errors
    assert len(errors.strip().splitlines()) == 1 and errors.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_json(call, tmp_path):
    shutil.copytree(ROOT / "bundles/farneback/configs", tmp_path / "farneback/configs")
    file = tmp_path / "farneback/configs/inference.json"
    file.write_text("{,}", encoding="utf-8")
    code, _, errors = call("--config_file", str(file))
    assert code == 1 and errors.startswith(f"error: {file}: no JSON (") and len(errors.splitlines()) == 1


@pytest.mark.parametrize("held", [[], ["notes.txt"], ["notes.txt", "run.log"]])
def test_a_refused_run_leaves_nothing_in_a_folder_of_the_users(call, tmp_path, held):
    """A study that holds its own cine: where an earlier run's log is, this one's is added."""
    for name in held:
        (tmp_path / "study" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "study" / name).write_text("must survive", encoding="utf-8")
    (tmp_path / "study/a").mkdir(parents=True)
    write_cine(tmp_path / "study/a/a.nii.gz", moving_cine(3, (64, 72))[0][None])
    given = ["--input", str(tmp_path / "study/a/a.nii.gz"), "--output_dir", str(tmp_path / "study")]
    code, _, errors = call("--config_file", FARNEBACK, *QUICK, *given)
    assert code == 1 and "take another output_dir" in errors.splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == sorted([*held, "a"])
    if "run.log" in held:
        assert (tmp_path / "study/run.log").read_text(encoding="utf-8").startswith("must survive")
    assert [path.name for path in (tmp_path / "study/a").iterdir()] == ["a.nii.gz"]


def test_what_others_log_goes_to_the_file_and_ours_to_the_terminal(call, tmp_path, capfd):
    with log_to_file() as kept:
        logging.getLogger("pydicom").warning("noise")
        logging.getLogger("cardiac_motion.registration").warning("an atlas is left out")
        warnings.warn("careful", stacklevel=1)
        write_log(kept, tmp_path / "none")
        assert not (tmp_path / "none").exists()
        logging.getLogger("nibabel").warning("more noise")
        logging.getLogger("other").error("broken")
        write_log(kept, tmp_path)
    errors = capfd.readouterr().err
    assert errors == "WARNING an atlas is left out\nERROR broken\n"
    text = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "more noise" in text and "broken" in text and text.count("noise") == 1


def test_a_log_that_cannot_be_written_hides_no_error(tmp_path, small_disk, capfd):
    with log_to_file() as kept:
        for _ in range(20):
            logging.getLogger("pydicom").warning("noise" * 1000)
        with pytest.raises(KeyError), small_disk():
            try:
                raise KeyError
            finally:
                write_log(kept, tmp_path)
    assert capfd.readouterr().err == f"{tmp_path / 'run.log'}: cannot be written (File too large)\n"


def test_help(call):
    assert call("--help")[:2] == (0, call()[1])
