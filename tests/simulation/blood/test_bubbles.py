import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.blood.bubbles import Contrast, bubbles, contrast_frames, scatter
from cardiac_motion.simulation.blood.flows import HillVortex
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner
from tests.simulation.blood.test_flows import FILLING

TIMES = [0.03, 0.035, 0.04]


def test_the_concentration_stays_while_the_pool_fills():
    found = bubbles(FILLING, TIMES, Contrast(concentration=2.0), seed=0)
    areas = [0.5 * np.pi * 60 * 20 * (1 + 1.5 * t) ** 2 for t in TIMES]
    for (places, amplitudes), area, time in zip(found, areas, TIMES, strict=True):
        assert len(places) == len(amplitudes) == pytest.approx(2 * area, rel=0.08)
        assert FILLING.is_inside(places, time).all()
    low = found[-1][0][:, 0] > 70  # near the base, where they come in
    assert low.sum() == pytest.approx(
        len(low) * (areas[-1] - 2 * np.trapezoid(half_widths(), dx=0.1)) / areas[-1], rel=0.2
    )


def half_widths(time=0.04):
    growth = 1 + 1.5 * time
    depth = np.arange(10 / (60 * growth), 1, 0.1 / (60 * growth))
    return 20 * growth * np.sqrt(1 - depth**2)


def test_bubbles_are_carried_and_lost_at_their_rate():
    flow = HillVortex()
    still = HillVortex(speed=0.0)
    kept = bubbles(still, [0.0, 0.1], Contrast(concentration=3.0), seed=1)
    assert np.array_equal(kept[0][0], kept[1][0])
    lost = bubbles(still, [0.0, 0.1], Contrast(concentration=3.0, loss=5.0), seed=1)
    stayed = len(set(map(tuple, lost[0][0])) & set(map(tuple, lost[1][0]))) / len(lost[0][0])
    assert stayed == pytest.approx(np.exp(-0.5), abs=0.04)
    assert len(lost[1][0]) == pytest.approx(len(lost[0][0]), rel=0.08)
    moved = bubbles(flow, [0.0, 0.002], Contrast(concentration=3.0), seed=1)
    count = min(len(moved[0][0]), len(moved[1][0]))
    assert 0.1 < np.median(np.linalg.norm(moved[1][0][:count] - moved[0][0][:count], axis=1)) < 0.8


def test_they_are_brighter_than_tissue_on_the_picture():
    flow = HillVortex()
    probe = PROBES["p4_2v"].replace(depth=110.0, width=60.0, focus=None)
    scanner = Scanner(probe, ImageGrid.from_sector(110.0, probe.half_angle, (64, 64)))
    contrast = Contrast()
    rng = np.random.default_rng(0)
    tissue = torch.from_numpy(rng.random((1, 4000, 2)) * [110, 90] - [0, 45]).float(), torch.full((1, 4000), 0.3)
    frame = contrast_frames(scanner, bubbles(flow, [0.0], contrast, 0), tissue, 0.4, contrast, 0)[0]
    inside = torch.from_numpy(flow.is_inside(scanner.grid.points().numpy(), 0.0)).view(64, 64)
    assert frame[inside].mean() > frame[~inside & scanner.sector].mean() + 0.1
    assert len(scatter(flow, 0.0, 1.0, rng)) == pytest.approx(np.pi * 24**2, rel=0.1)


@pytest.mark.parametrize("settings", [{"concentration": 0.0}, {"loss": -1.0}])
def test_contrast_that_makes_no_sense(settings):
    with pytest.raises(InputError, match="contrast"):
        Contrast(**settings)
