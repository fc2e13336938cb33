"""The chain from an entry to a case, and MONAI's transforms between its links."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityd

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.transforms import (
    BloodPoold,
    FramePairsd,
    GreyScaled,
    ReadCined,
    SectorMaskd,
    SquarePixelsd,
    ToCineCase,
    cine_transforms,
    mask_pool,
)
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.conftest import moving_cine


@pytest.fixture
def entry(tmp_path):
    write_cine(tmp_path / "cine.nii.gz", moving_cine(4, (64, 72))[0][None])
    return {"case": "cine", "image": str(tmp_path / "cine.nii.gz"), "spacing": [0.5, 0.5]}


def test_each_link_adds_what_it_says(entry):
    read = ReadCined(max_frames=3)(entry)
    assert read["cine"].shape == (1, 3, 64, 72) and read["cine"].meta["spacing"] == (0.5, 0.5)
    assert read["entry"] == CineEntry.from_dict(entry) and read["image"] == entry["image"]
    item = FramePairsd()(SectorMaskd()(read))
    assert item["mask"].shape == (1, 1, 64, 72) and item["mask"].dtype == torch.bool
    assert torch.equal(item["image"][:, 0], read["cine"].as_tensor()[0, :2])
    assert torch.equal(item["image"][:, 1], read["cine"].as_tensor()[0, 1:])
    case = ToCineCase()(item)
    assert isinstance(case, CineCase) and case.name == "cine" and case.blood_mask is None
    assert SquarePixelsd()(read)["cine"] is read["cine"], "they are square"


def test_transforms_of_monai_fit_between(entry):
    chain = [ReadCined(), ScaleIntensityd("cine", minv=0.0, maxv=0.5), SectorMaskd(), FramePairsd(), ToCineCase()]
    case, plain = Compose(chain)(entry), cine_transforms()(entry)
    low, high = plain.image.min(), plain.image.max()
    assert torch.allclose(case.image, 0.5 * (plain.image - low) / (high - low), atol=1e-6)
    assert case.meta == plain.meta


def test_colour_doppler_is_refused():
    cine = MetaTensor(torch.zeros(1, 2, 8, 8), meta={"colour_flow": True})
    with pytest.raises(InputError, match=r"^a\.dcm: colour Doppler"):
        GreyScaled()({"image": "a.dcm", "cine": cine})
    cine.meta["colour_flow"] = False
    assert GreyScaled()({"image": "a.dcm", "cine": cine})["cine"] is cine


def test_an_entry_without_blood_is_left_alone_and_half_of_it_is_refused(entry):
    item = FramePairsd()(SectorMaskd()(ReadCined()(entry)))
    assert BloodPoold()(item)["image"] is item["image"]
    with pytest.raises(InputError, match=r"missing: ed, es, es_mask$"):
        BloodPoold()({**item, "ed_mask": "ed.png"})


def test_outside_the_blood_all_is_black(entry):
    case, pool = cine_transforms()(entry), torch.zeros(4, 64, 72, dtype=torch.bool)
    pool[:, 20:40, 20:40] = True
    blood = mask_pool(case, pool)
    assert torch.equal(blood.image[..., 20:40, 20:40], case.image[..., 20:40, 20:40])
    assert not blood.image[..., ~pool[0]].any() and torch.equal(blood.mask, pool[1:, None])
    assert np.array_equal(blood.blood_mask, pool)


def test_where_only_the_heart_moves_the_mask_is_all_of_the_sector():
    """Windows and networks then see what lies beside the wall."""
    random = np.random.default_rng(0)
    frames = np.repeat(random.uniform(0.1, 0.6, (1, 90, 90)), 6, axis=0)
    frames[:, 30:60, 30:60] = random.uniform(0.1, 0.9, (6, 30, 30))
    cine = MetaTensor(torch.from_numpy(frames).float()[None])
    moving, whole = (SectorMaskd(still)({"cine": cine})["mask"] for still in (False, True))
    assert moving.float().mean() < 0.6 and whole.float().mean() > 0.95
