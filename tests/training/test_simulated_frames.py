import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM, SegmentationFrames
from cardiac_motion.training.simulated_frames import simulate_labelled_frames
from tests.recorded_frames import write_patients


def test_simulated_frames_with_labels(tmp_path):
    folder = write_patients(tmp_path / "patients")
    split, path = folder / "split.json", tmp_path / "kept.pt"
    found = simulate_labelled_frames(folder, split, "train", 2, 2, 0, path, 64)
    assert len(found) == 4 and all(f.image.shape == f.label.shape == (256, 256) for f in found)
    parametric, recorded = found[0], found[2]
    assert set(parametric.label.unique().tolist()) == {1, 2, BACKGROUND_OR_ATRIUM}
    assert set(recorded.label.unique().tolist()) == {0, 1, 2, 3}
    grey = recorded.image.float()
    assert grey[recorded.label == 2].mean() > 2 * grey[recorded.label == 1].mean()
    rows = [torch.nonzero(recorded.label == value)[:, 0].float().mean() for value in (1, 3)]
    assert rows[0] < rows[1], "the atrium lies below the cavity"
    again = simulate_labelled_frames(folder, split, "train", 2, 2, 0, path, 64)
    assert all(
        torch.equal(a.image, b.image) and torch.equal(a.label, b.label) for a, b in zip(found, again, strict=True)
    )
    with pytest.raises(InputError, match=r"kept\.pt: simulated with"):
        simulate_labelled_frames(folder, split, "train", 3, 2, 0, path, 64)
    frames = SegmentationFrames(str(folder), str(split), size=64, extra=found)
    assert len(frames) == 8 and int(frames[4]["label"].max()) == BACKGROUND_OR_ATRIUM
    assert simulate_labelled_frames(folder, split, "train", 0, 2, 0, None, 64) == []
