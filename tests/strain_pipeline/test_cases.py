"""What a user says of one cine or of several goes to the right one."""

import json

import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.cases import StudyCases


@pytest.fixture
def paths(tmp_path):
    found = []
    for name in ("a4c", "a2c"):
        frames = torch.rand(1, 3, 32, 40)
        write_cine(tmp_path / f"{name}.nii.gz", MetaTensor(frames, meta={"spacing": (0.5, 0.5)}))
        found.append(str(tmp_path / f"{name}.nii.gz"))
    return found


def test_one_word_is_for_all_and_a_list_for_each(paths):
    cases = StudyCases(paths, view=["A4C", None], ed=2, es=[None, 0])
    assert cases.study and [entry.get("assumed_view") for entry in cases.entries] == ["A4C", None]
    assert [entry["ed"] for entry in cases.entries] == [2, 2]
    assert ["es" in entry for entry in cases.entries] == [False, True] and cases.entries[1]["es"] == 0
    assert not any("contour" in entry for entry in cases.entries)


def test_a_cine_alone_is_no_study_and_a_list_of_one_is(paths):
    assert not StudyCases(paths[0]).study and StudyCases(paths[:1]).study


@pytest.mark.parametrize("name", ["view", "ed", "es", "contour"])
def test_lists_of_other_lengths_are_refused(paths, name):
    with pytest.raises(InputError, match=f"^--{name} has 3 values for 2 cines$"):
        StudyCases(paths, **{name: [None, None, None]})


def test_a_datalist_is_no_study_and_keeps_what_its_entries_say(paths, tmp_path):
    entries = [{"image": path, "assumed_view": "A2C", "ed": 1} for path in paths]
    (tmp_path / "list.json").write_text(json.dumps({"test": entries}), encoding="utf-8")
    cases = StudyCases(datalist=str(tmp_path / "list.json"), dataset_dir=str(tmp_path))
    assert not cases.study and [entry["assumed_view"] for entry in cases.entries] == ["A2C", "A2C"]
    assert [entry["ed"] for entry in cases.entries] == [1, 1]
