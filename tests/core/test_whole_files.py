import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError, input_error_in
from cardiac_motion.core.whole_files import PROGRAM as OURS
from cardiac_motion.core.whole_files import check_writable, clear_unfinished, summary_of, write_whole


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep/er/file.txt"
    with write_whole(path) as beside:
        beside.write_text("new", encoding="utf-8")
        assert not path.exists() and beside.parent == path.parent and beside.suffix == ".txt"
    assert path.read_text(encoding="utf-8") == "new"
    with pytest.raises(KeyError), write_whole(path) as beside:
        beside.write_text("half", encoding="utf-8")
        raise KeyError
    assert path.read_text(encoding="utf-8") == "new" and len(list(path.parent.iterdir())) == 1


def write_folder(path, text):
    with write_whole(path) as beside:
        beside.mkdir()
        (beside / text).write_text(text, encoding="utf-8")
        (beside / "summary.json").write_text(json.dumps({"program": OURS}), encoding="utf-8")


def test_folder_replaces_an_older_one_of_this_program(tmp_path):
    path = tmp_path / "case"
    for text in ("old", "new"):
        write_folder(path, text)
    assert {f.name for f in path.iterdir()} == {"new", "summary.json"} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("summary", [None, "{}", "not JSON", '["program"]'])
def test_a_folder_of_others_is_never_replaced(tmp_path, summary):
    path = tmp_path / "case"
    path.mkdir()
    (path / "notes.txt").write_text("must survive", encoding="utf-8")
    if summary is not None:
        (path / "summary.json").write_text(summary, encoding="utf-8")
    with pytest.raises(InputError, match="did not make"):
        write_folder(path, "new")
    with pytest.raises(InputError, match="did not make"), write_whole(path) as beside:
        beside.write_text("a file over the folder", encoding="utf-8")
    assert (path / "notes.txt").read_text(encoding="utf-8") == "must survive" and len(list(tmp_path.iterdir())) == 1


def test_what_the_system_refuses_names_the_path(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"file/under: cannot be written"), write_whole(tmp_path / "file/under"):
        pass
    with pytest.raises(InputError, match="no space left"), write_whole(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def save_array(path):
    np.save(path, np.zeros(10**6))  # raises an OSError without a number


def save_tensor(path):
    torch.save(torch.zeros(10**6), path)  # raises a RuntimeError


@pytest.mark.parametrize("save", [save_array, save_tensor])
def test_a_library_that_says_not_why_it_cannot_write(tmp_path, small_disk, save):
    path = tmp_path / ("a.npy" if save is save_array else "a.pt")
    path.write_text("whole", encoding="utf-8")
    with pytest.raises(InputError) as caught, small_disk(), write_whole(path) as beside:
        save(beside)
    assert str(caught.value) == f"{path}: cannot be written (file too large)"
    assert path.read_text(encoding="utf-8") == "whole" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("raised", [OSError("not a picture"), RuntimeError("a defect")])
def test_an_error_that_no_disk_made_stays_what_it_is(tmp_path, raised):
    with pytest.raises(type(raised), match=str(raised)), write_whole(tmp_path / "a.txt"):
        raise raised
    assert not list(tmp_path.iterdir())


def test_found_in_a_chain():
    try:
        try:
            raise InputError("the file")
        except InputError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        assert str(input_error_in(error)) == "the file"
    assert input_error_in(ValueError("a defect")) is None


def test_a_defect_while_bad_input_is_handled_is_a_defect():
    with pytest.raises(KeyError) as caught:
        try:
            raise InputError("the file")
        except InputError:
            {}["a bug"]
    assert input_error_in(caught.value) is None


PROGRAM = "from cardiac_motion.core.errors import InputError, install_error_hook; install_error_hook(); raise {}"


@pytest.mark.parametrize(
    "raised, traceback, shown",
    [
        ("InputError('a\\n b')", "", "error: a b"),
        ("KeyError(3)", "", "Traceback"),
        ("InputError('a')", "1", "Traceback"),
    ],
)
def test_one_line(raised, traceback, shown):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(raised)],
        capture_output=True,
        text=True,
        env={"TRACEBACK": traceback},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(shown)


def test_what_a_killed_run_left_is_cleared(tmp_path):
    for name in (".0a1b2c3d.case", ".0a1b2c3e.file.txt", "case", ".hidden", ".0a1b2c3d", ".00000000.whole"):
        (tmp_path / name).mkdir()
    whole = {"program": OURS, "case": "whole", "method": "m"}
    (tmp_path / ".00000000.whole/summary.json").write_text(json.dumps(whole), encoding="utf-8")
    (tmp_path / ".0a1b2c3f.table.csv").touch()
    clear_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"case", ".hidden", ".0a1b2c3d", "whole"}
    assert summary_of(tmp_path / "whole") == whole


def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path):
    check_writable(tmp_path / "not/there/yet")
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below", Path("/proc/out")):
        with pytest.raises(InputError, match="cannot be written"):
            check_writable(folder)
