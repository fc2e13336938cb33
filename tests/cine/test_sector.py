from __future__ import annotations

import numpy as np
import pytest
import torch

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.sector import sector_hull, sector_mask
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
