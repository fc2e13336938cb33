from __future__ import annotations

import numpy as np
import pytest
import torch

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.sector import find_marks, sector_hull, sector_mask, sector_masks
from tests.cine.made import (
    DEMO,
    phantom,
)


def test_sector_mask_of_a_phantom() -> None:
    frames, sector = phantom()
    cine = torch.from_numpy(frames)[None]
    exact = sector_mask(cine, radius=0).numpy()
    assert 2 * (exact & sector).sum() / (exact.sum() + sector.sum()) > 0.97
    mask = sector_mask(cine).numpy()
    assert mask[sector].mean() > 0.999
    assert not mask[150].any() and not mask[20:110, 190:196].any() and not mask[10:20, 5:50].any()
    assert not mask[30:90:20, 30:34].any()


@pytest.mark.parametrize("radius", [4, 16])
def test_sector_mask_is_widened_by_the_radius(radius: int) -> None:
    frames = np.zeros((5, 120, 120), dtype=np.float32)
    frames[:, 40:80, 40:80] = np.random.default_rng(0).uniform(0.2, 0.9, (5, 40, 40))
    mask = sector_mask(torch.from_numpy(frames)[None], radius).numpy()
    assert np.flatnonzero(mask[60]).tolist() == list(range(40 - radius, 80 + radius))


def test_sector_mask_of_the_demo_leaves_out_the_text() -> None:
    mask = sector_mask(read_cine(DEMO))
    assert mask[100, 160] and not mask[:30, :60].any() and not mask[:, 290:].any() and not mask[225:].any()


def test_sector_mask_without_echo_is_everything() -> None:
    assert sector_mask(torch.zeros(1, 3, 20, 20)).all()


def test_text_over_the_echo_and_a_trace_that_moves_are_left_out() -> None:
    frames, sector = phantom(12)
    text = np.zeros(sector.shape, dtype=bool)
    text[60:70, 70:100:4] = True  # strokes of a burnt-in label, over the echo
    trace = np.zeros(frames.shape, dtype=bool)
    for t in range(12):  # an ECG that runs on, close under the sector
        columns = np.arange(20, 180)
        trace[t, (132 + 4 * np.sin((columns + 5 * t) / 6)).astype(int), columns] = True
    frames[:, text] = 1.0
    frames[trace] = 0.9
    mask = sector_mask(torch.from_numpy(frames)[None]).numpy()
    assert not mask[text].any()
    assert not mask[trace.any(0) & ~sector].any()
    assert mask[sector & ~text].mean() > 0.93


def test_still_speckle_is_no_mark() -> None:
    frames = np.repeat(phantom(1)[0], 6, axis=0)
    frames += np.random.default_rng(0).normal(0, 0.002, frames.shape).astype(np.float32)
    sector = phantom(1)[1]
    assert sector_mask(torch.from_numpy(frames)[None], still=True).numpy()[sector].mean() > 0.97


def test_what_is_seen_is_the_sector_with_the_dark_in_it() -> None:
    row, column = np.mgrid[:80, :90]
    sector = (np.abs(column - 45) < 0.7 * row + 0.5) & (np.hypot(row, column - 45) < 70)
    frames = np.where(sector, 0.5, 0.0)[None].repeat(3, 0)
    frames[:, 30:50, 38:52] = 0.0  # a dark cavity
    found = sector_hull(torch.from_numpy(frames)[None]).numpy()
    assert found[sector].mean() > 0.99 and (found & ~sector).mean() < 0.02
    assert sector_hull(torch.zeros(1, 2, 8, 8)).all()


@pytest.mark.parametrize("still", [True, False])
def test_several_radii_at_once_are_those_one_by_one(still: bool) -> None:
    cine = torch.from_numpy(phantom(6)[0])[None]
    found = sector_masks(cine, (0, 5, 16), still)
    for radius, mask in zip((0, 5, 16), found, strict=True):
        assert torch.equal(mask, sector_mask(cine, radius, still))
    assert found[0].sum() < found[1].sum() < found[2].sum()


def test_a_mark_is_found_wherever_it_stands_and_grows_to_its_faint_end() -> None:
    mean = np.zeros((60, 80), dtype=np.float32)
    spread = np.full(mean.shape, 0.1, dtype=np.float32)
    for row, column in ((0, 3), (59, 70)):
        mean[row, column : column + 9], spread[row, column : column + 9] = 0.9, 0.0
    mean[0, 12:16], spread[0, 12:16] = 0.2, 0.03  # goes on, faint
    mean[30, 40:44], spread[30, 40:44] = 0.2, 0.03  # faint, and no part of a mark
    expected = np.zeros(mean.shape, dtype=bool)
    expected[0, 3:16] = expected[59, 70:79] = True
    assert (find_marks(mean, spread) == expected).all()
    assert not find_marks(mean, spread + 0.05).any()
