"""The region around a wall, and the size at which it is registered."""

import numpy as np
import pytest
from monai.inferers import SimpleInferer

from cardiac_motion.registration.pairwise import PairwiseInferer, SizedInferer
from cardiac_motion.strain_pipeline.tracking.region import LEAST_THICKNESS, fit_inferer, region_around

WEDGE = np.array([[60.0, 20.0], [10.0, 40.0], [60.0, 60.0]])


def wall(thickness):
    """Lines [2, 3, 3, 2] of a wall of a thickness in pixels; the second frame has none."""
    lines = np.stack([WEDGE + [0.0, k * thickness / 2] for k in range(3)])
    return np.stack([lines, np.full_like(lines, np.nan)])


def test_the_margin_is_a_part_of_the_length():
    (top, bottom), (left, right) = region_around(wall(10.0), 0.0)
    assert (top, bottom, left, right) == (10, 61, 20, 71)
    assert region_around(wall(10.0), 0.2) == ((0, 71), (10, 81))


@pytest.mark.parametrize("margin", [None, 0.2])
@pytest.mark.parametrize(("thickness", "least"), [(28.0, 0.5), (14.0, 1.0), (7.0, 2.0)])
def test_a_thin_wall_is_enlarged(monkeypatch, thickness, least, margin):
    seen = []
    monkeypatch.setattr(SizedInferer, "restrict", lambda self, region, zoom: seen.append((region, zoom)) or self)
    inferer = SizedInferer(PairwiseInferer(), longest=320, shortest=192)
    fit_inferer(inferer, wall(thickness), margin)
    region, zoom = seen[0]
    assert zoom == pytest.approx(LEAST_THICKNESS / thickness) == pytest.approx(least)
    assert region == (None if margin is None else region_around(wall(thickness), margin))


def test_other_inferers_and_walls_without_lines_are_left_alone():
    plain, sized = SimpleInferer(), SizedInferer(PairwiseInferer())
    assert fit_inferer(plain, wall(9.0), 0.2) is plain
    assert fit_inferer(sized, wall(9.0) * np.nan, 0.2) is sized
