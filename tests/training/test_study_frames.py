"""Frames of saved labels: which are chosen, and what is background."""

import json

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM
from cardiac_motion.training.study_frames import StudyFrames, read_labelled_frames
from tests.conftest import moving_cine


@pytest.fixture
def cine(tmp_path):
    """A NIfTI cine of four frames, 72 × 80."""
    path = tmp_path / "speckle.nii.gz"
    frames, _ = moving_cine()
    write_cine(path, MetaTensor(frames[None], meta={"spacing": (0.5, 0.4), "frame_times": [0, 0.1, 0.2, 0.3]}))
    return path


def save(path, values):
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, np.uint8), np.eye(4)), path)
    return str(path)


def test_frames_of_saved_labels(cine, tmp_path):
    values = np.zeros((80, 72, 4))
    values[30:50, 20:50, 1:] = 2
    values[34:46, 24:50, 1:] = 1
    save(tmp_path / "label.nii.gz", values)
    datalist = tmp_path / "list.json"
    datalist.write_text(
        json.dumps({"training": [{"image": "speckle.nii.gz", "label": "label.nii.gz"}]}), encoding="utf-8"
    )
    frames = StudyFrames(str(datalist), dataset_dir=str(tmp_path), frames=2, size=64)
    assert [frame.name for frame in frames.frames] == ["speckle_1", "speckle_3"]
    item = frames[0]
    assert item["image"].shape == item["label"].shape == (1, 64, 64)
    assert (
        set(item["label"].unique().tolist()) <= {0, 1, 2, BACKGROUND_OR_ATRIUM}
        and (item["label"] == BACKGROUND_OR_ATRIUM).any()
    )
    values[0, 0, 1] = 3
    save(tmp_path / "label.nii.gz", values)
    with_atrium = StudyFrames(str(datalist), dataset_dir=str(tmp_path), size=64)
    assert len(with_atrium) == 3 and not any((with_atrium[i]["label"] == BACKGROUND_OR_ATRIUM).any() for i in range(3))
    save(tmp_path / "label.nii.gz", np.zeros((80, 72, 4)))
    with pytest.raises(InputError, match="no frame of 'training' has a labelled cavity"):
        StudyFrames(str(datalist), dataset_dir=str(tmp_path), size=64)


def entry_of(cine, tmp_path, values):
    return {"image": str(cine), "label": save(tmp_path / "label.nii.gz", values), "case": "one"}


def test_frames_are_chosen_evenly_from_first_to_last(cine, tmp_path):
    entry = entry_of(cine, tmp_path, np.ones((80, 72, 4)))
    names = {count: [f.name for f in read_labelled_frames(entry, count, 32)] for count in (1, 2, 3, 9)}
    assert names == {
        1: ["one_0"], 2: ["one_0", "one_3"], 3: ["one_0", "one_2", "one_3"], 9: [f"one_{t}" for t in range(4)],
    }  # fmt: skip


def test_one_label_map_is_that_of_the_first_frame_and_lies_as_the_cine(cine, tmp_path):
    values = np.zeros((80, 72))
    values[70, 5] = 1  # x 70, y 5
    (frame,) = read_labelled_frames(entry_of(cine, tmp_path, values), 8, 32)
    assert frame.name == "one_0" and frame.image.shape == frame.label.shape == (72, 80)
    assert torch.nonzero(frame.label == 1).tolist() == [[5, 70]] and frame.spacing == pytest.approx((0.5, 0.4))
    assert int((frame.label == BACKGROUND_OR_ATRIUM).sum()) == 72 * 80 - 1


@pytest.mark.parametrize(
    "shape, value, message",
    [((72, 80, 4), 1, "label map \\("), ((80, 72, 3), 1, "label map \\("), ((80, 72), 4, "got 4")],
)
def test_labels_that_do_not_fit_are_one_line(cine, tmp_path, shape, value, message):
    with pytest.raises(InputError, match=message) as caught:
        read_labelled_frames(entry_of(cine, tmp_path, np.full(shape, value)), 8, 32)
    assert "label.nii.gz" in str(caught.value) and "\n" not in str(caught.value)
