from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from cardiac_motion.cine.read import frame_pairs, read_cine
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    DEMO,
    H,
    T,
    W,
    cine_of,
    loop,
)


def test_the_real_cine_that_ships_with_pydicom() -> None:
    cine = read_cine(DEMO)
    assert cine.shape == (1, 30, 240, 320) and cine.dtype == torch.float32
    assert 0 <= cine.min() and cine.max() <= 1
    assert cine.meta["spacing"] is None
    assert "x 84 to 595" in cine.meta["notes"][0] and "320 × 240" in cine.meta["notes"][0]
    assert cine.meta["frame_times"][:2] == [0.0, pytest.approx(0.033333)]
    assert cine.meta["regions"][0]["x1"] == 595
    assert read_cine(DEMO, spacing=(1.0, 1.1)).meta["spacing"] == (1.0, 1.1)


def test_a_real_video_and_its_sector(data_dir: Path) -> None:
    cine = read_cine(data_dir / "cines" / "a4c_normal.mp4")
    assert cine.shape == (1, 50, 480, 624)
    np.testing.assert_allclose(np.diff(cine.meta["frame_times"]), 1 / 51, rtol=1e-6)
    mask = sector_mask(cine)
    assert 0.25 < mask.float().mean() < 0.45
    assert mask[300, 300] and not mask[385, 100] and not mask[:, :60].any() and not mask[400:].any()


def test_volumes_are_refused_and_planes_too(data_dir: Path) -> None:
    for path in sorted((data_dir / "Task04_Hippocampus" / "imagesTr").glob("hip*.nii.gz"))[:40]:
        with pytest.raises(InputError, match="3D volume"):
            read_cine(path)
    with pytest.raises(InputError, match="only 1 frame"):
        read_cine(data_dir / "CAMUS_616um" / "patient0001" / "patient0001_4CH_ED.nii.gz")


def test_sector_of_a_real_still_frame(data_dir: Path) -> None:
    folder = data_dir / "CAMUS_616um" / "patient0001"
    frame = np.asarray(nib.load(folder / "patient0001_4CH_ED.nii.gz").dataobj).T
    mask = sector_mask(torch.from_numpy(frame / 255.0)[None, None].float(), radius=0)
    assert mask[frame > 10].float().mean() > 0.98
    assert mask[:40, :60].sum() == 0


def test_frame_pairs() -> None:
    cine = cine_of(loop())
    pairs = frame_pairs(cine)
    assert pairs.shape == (T - 1, 2, H, W) and type(pairs) is torch.Tensor
    assert torch.equal(pairs[2, 0], cine.as_tensor()[0, 2]) and torch.equal(pairs[2, 1], cine.as_tensor()[0, 3])
    assert pairs.untyped_storage().data_ptr() == cine.as_tensor().untyped_storage().data_ptr(), "nothing is copied"


@pytest.mark.parametrize("spacing", [0, -1.0, (0.3, float("nan")), (1, 2, 3), (0.5, 0.0)])
def test_a_spacing_that_is_none(spacing: Any) -> None:
    with pytest.raises(InputError, match="positive numbers"):
        read_cine(DEMO, spacing=spacing)
