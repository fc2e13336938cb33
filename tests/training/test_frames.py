import numpy as np
import pytest
import torch

from cardiac_motion.cine.square import FrameSquare
from cardiac_motion.core.errors import InputError
from cardiac_motion.training.frames import FrameAugmentation, SegmentationFrames, read_labelled_frame
from tests.recorded_frames import write_patients

CHANGES = {
    "rotation": 10, "scale": 0.2, "stretch": 0.05, "shift": 0.1, "gamma": 0.3, "contrast": 0.2, "brightness": 0.03,
    "gain": 0.2, "blur": 1.5, "noise": 0.3, "cut": 0.5,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return write_patients(tmp_path / "patients")


def frames(folder, **settings):
    return SegmentationFrames(str(folder), str(folder / "split.json"), size=64, **settings)


def disc(shape, centre, radius):
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij")
    return torch.hypot(rows - centre[0], columns - centre[1]) < radius


@pytest.mark.parametrize(
    ("shape", "centre"), [((200, 160), (120.0, 60.0)), ((90, 260), (40.0, 200.0)), ((301, 301), (150.5, 149.0))]
)
def test_a_disc_there_and_back(shape, centre):
    """The middle of a disc comes back within a tenth of a pixel, its area within 1 %."""
    inside = disc(shape, centre, 30)
    sector = torch.zeros(shape, dtype=torch.bool)
    sector[int(centre[0]) - 38 : int(centre[0]) + 42, int(centre[1]) - 45 : int(centre[1]) + 40] = True
    square = FrameSquare.from_mask(sector, 256)
    assert square.side == 85
    back = square.paste(square.take(inside[None].float()), [0.0])[0, 0] > 0.5
    rows, columns = torch.nonzero(inside).double().mean(0)
    rows_back, columns_back = torch.nonzero(back).double().mean(0)
    assert abs(rows - rows_back) < 0.1 and abs(columns - columns_back) < 0.1
    assert abs(back.sum() / inside.sum() - 1) < 0.01


def test_a_square_of_its_own_size_is_the_identity():
    frame = torch.rand(2, 40, 30)
    square = FrameSquare.from_mask(torch.ones(40, 30, dtype=torch.bool), 40)
    taken = square.take(frame)
    assert (square.top, square.left) == (0, -5)
    assert torch.allclose(taken[:, 0, :, 5:35], frame) and taken[..., :5].abs().max() == 0
    assert torch.allclose(square.paste(taken, [7.0])[:, 0], frame, atol=1e-5)


def test_beyond_the_square_is_what_was_said():
    square = FrameSquare((30, 30), 10, 10, 8, 16)
    whole = square.paste(torch.zeros(1, 2, 16, 16), [5.0, -5.0])
    assert whole[0, 0, 9, 12] == 5 and whole[0, 1, 12, 9] == -5 and (whole[0, :, 10:18, 10:18] == 0).all()


def test_an_empty_mask_and_a_wrong_frame_are_refused():
    with pytest.raises(InputError, match="no imaging sector"):
        FrameSquare.from_mask(torch.zeros(5, 5, dtype=torch.bool), 16)
    with pytest.raises(ValueError, match=r"expected \[N, 5, 5\], got \(1, 6, 5\)"):
        FrameSquare((5, 5), 0, 0, 5, 16).take(torch.zeros(1, 6, 5))


def test_an_unchanged_item_is_the_frames_square(folder):
    dataset = frames(folder)
    frame, item = dataset.frames[0], dataset[0]
    assert len(dataset) == 4 and item["image"].shape == item["label"].shape == (1, 64, 64)
    assert frame.spacing == pytest.approx((0.6, 0.6)) and frame.image.shape == (120, 100)
    assert set(item["label"].unique().tolist()) == {0, 1, 2, 3}
    taken = frame.square.take(frame.image[None].float() / 255)[0]
    assert (item["image"] - taken).abs().mean() < 0.02


def test_changes_depend_on_seed_epoch_and_index(folder):
    first, second = frames(folder, augmentation=CHANGES, seed=3), frames(folder, augmentation=CHANGES, seed=3)
    second[0]
    assert torch.equal(first[1]["image"], second[1]["image"])
    first.set_epoch(1)
    assert not torch.equal(first[1]["image"], second[1]["image"])
    second.set_epoch(1)
    assert torch.equal(first[1]["image"], second[1]["image"]) and torch.equal(first[1]["label"], second[1]["label"])
    other = frames(folder, augmentation=CHANGES, seed=4)
    other.set_epoch(1)
    assert not torch.equal(first[1]["image"], other[1]["image"])


def test_the_label_moves_with_the_image(folder):
    """Cavity and atrium are dark, the wall is bright, wherever a change of place puts them."""
    place = {key: CHANGES[key] for key in ("rotation", "scale", "stretch", "shift")}
    dataset = frames(folder, augmentation=place)
    for index in range(4):
        item = dataset[index]
        image, label = item["image"], item["label"]
        assert image[label == 2].mean() > 0.6 and image[label == 1].mean() < 0.2 and image[label == 3].mean() < 0.2


def test_grey_changes_keep_black_black(folder):
    image = frames(folder)[0]["image"][0]
    changed = FrameAugmentation(gamma=0.5, contrast=0.4, brightness=0.1, gain=0.3).grey(image, np.random.default_rng(0))
    assert changed[image == 0].abs().max() == 0 and not torch.equal(changed, image)
    assert 0 <= changed.min() and changed.max() <= 1


def test_a_cut_takes_the_label_with_it(folder):
    dataset = frames(folder, augmentation={"cut": 1.0})
    assert dataset.frames[0].sector is not None
    whole = frames(folder)
    lost = [int((whole[i]["label"] > 0).sum() - (dataset[i]["label"] > 0).sum()) for i in range(4)]
    assert all(n >= 0 for n in lost)
    for i in range(4):
        assert (dataset[i]["image"][dataset[i]["label"] == 2] > 0).float().mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": None}, "None: no such folder of patients; give it with --dataset_dir DIR"),
        ({"split": None}, "no split; give the file of the folds with --split FILE"),
        ({"fold": "test"}, r"split\.json: no fold 'test'; available: train, valid, test"),
        ({"split": "none.json"}, r"none\.json: cannot be read as a split"),
    ],
)
def test_wrong_input(folder, settings, message):
    with pytest.raises(InputError, match=message):
        SegmentationFrames(**{"folder": str(folder), "split": str(folder / "split.json"), **settings})


def test_a_missing_mask_is_named(folder):
    (folder / "patient0001/patient0001_4CH_ES_gt.nii.gz").unlink()
    with pytest.raises(InputError, match=r"patient0001_4CH_ES_gt\.nii\.gz: no such file"):
        frames(folder)
    bad = folder / "patient0001/patient0001_4CH_ED_gt.nii.gz"
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match="not a readable NIfTI file"):
        read_labelled_frame(folder / "patient0001/patient0001_4CH_ED.nii.gz")
