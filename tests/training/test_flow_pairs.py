"""Pairs to train pyramid flow on: what is drawn, and that every augmentation keeps the field true."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.training.flow_pairs import Augmentation, NaturalFlowPairs, SimulatedFlowPairs, augmentation_from

LITTLE = {"scatterers": 3000, "shape": [64, 64], "artefact": 0.0, "probes": ["reference"]}
PARTS = {
    "flip": {"flip": True},
    "scale": {"scale": 0.3},
    "zoom": {"zoom": 2.0},
    "translation": {"translation": 5},
    "crop": {"crop": (40, 56)},
    "larger crop": {"crop": (80, 72)},
    "zoomed crop": {"zoom": 2.0, "scale": 0.1, "crop": (56, 64)},
    "all": {"flip": True, "scale": 0.1, "translation": 3, "crop": (48, 48)},
}


def smooth_pair(size=64):
    """A smooth picture and its copy under a known affine field."""
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    field = torch.stack([0.02 * columns - 1.3, 0.03 * rows + 0.01 * columns + 0.5])

    def picture(r, c):
        return 0.5 + 0.2 * torch.sin(r / 5) * torch.cos(c / 7) + 0.1 * torch.sin(c / 4 + r / 9)

    # moving(p + field(p)) = fixed(p): take a moving picture, and look it up where the field leads
    fixed, moving = picture(rows + field[0], columns + field[1]), picture(rows, columns)
    mask = torch.zeros(1, size, size)
    mask[:, 8:-8, 8:-8] = 1
    return {"image": torch.stack([moving, fixed]), "field": field, "mask": mask, "spacing": torch.tensor([0.5, 0.4])}


def mismatch(item):
    image, mask = item["image"][None], item["mask"]
    there = identity_grid(mask.shape[1:], mask)[0] + item["field"]
    last = torch.tensor(mask.shape[1:])[:, None, None] - 1
    mask = mask * ((there >= 0) & (there <= last)).all(0)
    return float(((warp(image[:, :1], item["field"][None]) - image[:, 1:])[0] * mask).abs().max())


@pytest.mark.parametrize("name", PARTS)
def test_the_field_stays_true(name):
    whole = smooth_pair()
    assert mismatch(whole) < 0.01
    for seed in range(6):
        item = Augmentation(**PARTS[name])(whole, np.random.default_rng(seed))
        assert item["mask"].sum() > 100
        assert mismatch(item) < 0.02
        if "crop" in PARTS[name]:
            assert item["image"].shape[1:] == item["field"].shape[1:] == PARTS[name]["crop"]
    assert mismatch(whole) < 0.01, "the original is left alone"


def test_scale_keeps_millimetres():
    whole = smooth_pair()
    item = Augmentation(scale=0.3)(whole, np.random.default_rng(1))
    extent = item["spacing"] * torch.tensor(item["image"].shape[1:])
    assert torch.allclose(extent, whole["spacing"] * 64)
    before = (whole["field"].mean((1, 2)) * whole["spacing"]).numpy()
    assert (item["field"].mean((1, 2)) * item["spacing"]).numpy() == pytest.approx(before, rel=0.05)


def test_grey_values_change_in_both_images_alike():
    whole = smooth_pair()
    item = Augmentation(brightness=0.1, contrast=0.2)(whole, np.random.default_rng(0))
    assert item["image"].min() >= 0 and item["image"].max() <= 1
    assert mismatch(item) < 0.02 and not torch.equal(item["image"], whole["image"])
    assert mismatch(Augmentation(noise=0.2)(whole, np.random.default_rng(0))) > 0.02


def test_simulated_pairs_are_drawn_by_seed_epoch_and_index():
    options = {"length": 6, "pairs": 2, "open": 2, "repeats": 2, "settings": LITTLE, "frames": 10}
    options["augmentation"] = {"crop": [48, 48], "brightness": 0.1}
    data, again = (SimulatedFlowPairs(**options, seed=3) for _ in range(2))
    first = [data[i] for i in range(6)]
    assert all(torch.equal(first[i]["image"], again[i]["image"]) for i in (5, 0, 3)), "in any order"
    assert first[0]["image"].shape == first[0]["field"].shape == (2, 48, 48)
    assert any(item["mask"].sum() > 0 for item in first)
    data.set_epoch(1)
    assert not torch.equal(data[0]["image"], first[0]["image"])
    batch = next(iter(DataLoader(again, batch_size=3)))
    assert batch["image"].shape == (3, 2, 48, 48) and batch["spacing"].shape == (3, 2)


def test_gaps_and_directions():
    """The field of a later fixed frame is that of the earlier one with the time turned round, so both must occur."""
    seen = []

    class Spy(SimulatedFlowPairs):
        def _simulation(self, patient):
            class Recorder:
                @staticmethod
                def pair(fixed, moving):
                    seen.append(fixed - moving)
                    blank = torch.zeros(2, 8, 8)
                    return {"image": blank, "ddf": blank, "mask": blank[:1], "spacing": torch.ones(2)}

            return Recorder()

    for i in range(60):
        Spy(length=60, gaps=(1, 3))[i]
    assert set(seen) == {1, -1, 3, -3}
    seen.clear()
    for i in range(20):
        Spy(length=60, gaps=(2,), backward=False)[i]
    assert set(seen) == {2}


def test_natural_pairs_without_a_download():
    data = NaturalFlowPairs(length=2, shape=(48, 64), augmentation={"crop": [32, 32], "flip": True}, seed=1)
    item = data[0]
    assert item["image"].shape == (2, 32, 32) and item["spacing"].isnan().all()
    data.set_epoch(1)
    assert not torch.equal(data[0]["image"], item["image"])
    with pytest.raises(IndexError):
        data[2]


def chairs(folder, count=2):
    import imageio.v3 as iio

    rng = np.random.default_rng(0)
    for k in range(count):
        for which in (1, 2):
            iio.imwrite(folder / f"{k:05d}_img{which}.ppm", rng.integers(0, 255, (24, 32, 3), np.uint8))
        flow = np.full((24, 32, 2), [1.5 + 100 * (k == 1), -2.0], "<f4")
        content = np.float32(202021.25).tobytes() + np.array([32, 24], "<i4").tobytes() + flow.tobytes()
        (folder / f"{k:05d}_flow.flo").write_bytes(content)


def test_flying_chairs_too_fast_for_a_heart_are_passed_over(tmp_path):
    chairs(tmp_path)
    data = NaturalFlowPairs([tmp_path], length=8, max_displacement=20)
    for i in range(8):
        assert torch.allclose(data[i]["field"].mean((1, 2)), torch.tensor([-2.0, 1.5])), "(row, column)"
    with pytest.raises(InputError, match="none of 1000 drawn pairs moves less than 1"):
        NaturalFlowPairs([tmp_path], max_displacement=1)[0]
    (tmp_path / "00000_flow.flo").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match=r"00000_flow\.flo: not a \.flo file"):
        NaturalFlowPairs([tmp_path], length=8, max_displacement=20)[0]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"gaps": [0]}, "gaps"),
        ({"gaps": [40]}, "gaps"),
        ({"pairs": 0}, "at least 1"),
        ({"length": 0}, "at least one pair"),
        ({"settings": {"depth": 3}}, "depth"),
        ({"templates": "nowhere", "split": "nowhere.json"}, "nowhere"),
    ],
)
def test_bad_options(given, words):
    with pytest.raises(InputError, match=words):
        SimulatedFlowPairs(**given)


def test_bad_lists_and_augmentations(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": []}), encoding="utf-8")
    with pytest.raises(InputError, match="cannot read list 'valid'"):
        SimulatedFlowPairs(templates=str(tmp_path), split=tmp_path / "split.json", fold="valid")
    with pytest.raises(InputError, match="rotation"):
        augmentation_from({"rotation": 3})


def test_a_margin_widens_the_mask_alone():
    item = {"image": torch.rand(2, 9, 9), "field": torch.rand(2, 9, 9), "mask": torch.zeros(1, 9, 9)}
    item["mask"][0, 4, 4], item["spacing"] = 1, torch.ones(2)
    wide = Augmentation(margin=2)(item, np.random.default_rng(0))
    assert wide["mask"].sum() == 25 and torch.equal(wide["field"], item["field"])


def test_a_zoomed_pair_is_twice_as_large_in_pixels_and_the_same_in_mm():
    pair = smooth_pair()
    item = Augmentation(zoom=2.0)(pair, np.random.default_rng(0))
    assert item["image"].shape == (2, 128, 128) and torch.allclose(item["spacing"], pair["spacing"] / 2)
    middle = (slice(None), slice(40, 88), slice(40, 88))
    mm = [
        (p["field"] * p["spacing"][:, None, None])[at].mean()
        for p, at in ((item, middle), (pair, (slice(None), slice(20, 44), slice(20, 44))))
    ]
    assert float(mm[0]) == pytest.approx(float(mm[1]), rel=1e-3)


def test_a_crop_fits_into_the_window_that_is_cut_for_it():
    assert Augmentation().window is None
    augmentation = Augmentation(crop=(64, 96), zoom=2.0, scale=0.2, margin=2)
    rows, columns = augmentation.window
    assert 32 * 1.3 < rows < 32 * 1.5 + 8 and columns > rows
    whole = smooth_pair(128)
    whole["mask"] = torch.ones_like(whole["mask"])
    piece = {k: v[..., :rows, :columns] if k != "spacing" else v for k, v in whole.items()}
    filled = [augmentation(piece, np.random.default_rng(seed))["mask"].mean() for seed in range(40)]
    assert np.mean([f > 0.99 for f in filled]) > 0.85
