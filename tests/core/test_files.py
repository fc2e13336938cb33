import errno
import subprocess
import sys

import pytest

from common.core.errors import InputError, input_error_in
from common.core.files import written_whole


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep/er/file.txt"
    with written_whole(path) as beside:
        beside.write_text("new")
        assert not path.exists() and beside.parent == path.parent and beside.suffix == ".txt"
    assert path.read_text() == "new"
    with pytest.raises(KeyError), written_whole(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "new" and len(list(path.parent.iterdir())) == 1


def test_folder_replaces_an_older_one(tmp_path):
    path = tmp_path / "case"
    for text in ("old", "new"):
        with written_whole(path) as beside:
            beside.mkdir()
            (beside / text).write_text(text)
    assert [f.name for f in path.iterdir()] == ["new"] and len(list(tmp_path.iterdir())) == 1


def test_what_the_system_refuses_names_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/under: cannot be written"), written_whole(tmp_path / "file/under"):
        pass
    with pytest.raises(InputError, match="no space left"), written_whole(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_found_in_a_chain():
    try:
        try:
            raise InputError("the file")
        except InputError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        assert str(input_error_in(error)) == "the file"
    assert input_error_in(ValueError("a defect")) is None


PROGRAM = "from common.core.errors import InputError, one_line_errors; one_line_errors(); raise {}"


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
