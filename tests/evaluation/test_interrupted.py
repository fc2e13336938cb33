"""An interrupted list goes on where it was, unless anything that its results depend on has changed."""

import json

import pytest

from cardiac_motion.core import run_settings
from cardiac_motion.core.whole_files import PROGRAM
from cardiac_motion.evaluation.interrupted import UNFINISHED_LIST, ListProgress


@pytest.fixture
def entries(tmp_path, monkeypatch):
    monkeypatch.setattr(run_settings, "_noted", ["settings"])
    for name in "abc":
        (tmp_path / f"{name}.nii").write_bytes(name.encode())
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"program": PROGRAM}), encoding="utf-8")
    return [{"case": name, "image": str(tmp_path / f"{name}.nii")} for name in "abc"]


def interrupt(folder, entries, *names):
    progress = ListProgress(folder, entries)
    for name in names:
        progress.finish(name)


def test_finished_cases_are_taken_up(tmp_path, entries):
    interrupt(tmp_path, entries, "a", "b")
    assert list(ListProgress(tmp_path, entries).find_finished()) == ["a", "b"]
    progress = ListProgress(tmp_path, entries)
    progress.close()
    assert not (tmp_path / UNFINISHED_LIST).exists() and progress.find_finished() == {}


def test_the_last_case_is_always_done(tmp_path, entries):
    interrupt(tmp_path, entries, "a", "b", "c")
    assert list(ListProgress(tmp_path, entries).find_finished()) == ["a", "b"]


def test_a_case_whose_results_are_gone_is_done_again(tmp_path, entries):
    interrupt(tmp_path, entries, "a", "b")
    (tmp_path / "a/summary.json").unlink()
    assert list(ListProgress(tmp_path, entries).find_finished()) == ["b"]


@pytest.mark.parametrize("change", ["settings", "file", "entries", "damage"])
def test_after_a_change_all_is_done_again(tmp_path, entries, monkeypatch, change):
    interrupt(tmp_path, entries, "a", "b")
    if change == "settings":
        monkeypatch.setattr(run_settings, "_noted", ["others"])
    elif change == "file":
        (tmp_path / "a.nii").write_bytes(b"another file")
    elif change == "entries":
        entries[0] = {**entries[0], "spacing": 0.5}
    else:
        (tmp_path / UNFINISHED_LIST).write_text("{", encoding="utf-8")
    assert ListProgress(tmp_path, entries).find_finished() == {}


def test_without_noted_settings_nothing_is_written(tmp_path, entries, monkeypatch):
    monkeypatch.setattr(run_settings, "_noted", [])
    interrupt(tmp_path, entries, "a")
    assert not (tmp_path / UNFINISHED_LIST).exists()
