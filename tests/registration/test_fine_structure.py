"""What stands still over a wall, and the sector's edge, are taken from frames; what moves stays."""

import numpy as np
from scipy import ndimage

from cardiac_motion.registration.fine_structure import remove_standing
from tests.registration.test_material_wall import PHASES, SETTINGS, SIZE, draw, speckle


def test_what_stands_still_over_the_wall_is_removed():
    frames = draw(PHASES, speckle(1))
    veil = 2.0 * ndimage.gaussian_filter(np.random.default_rng(8).standard_normal(SIZE), 1.0).astype(np.float32)
    cleared = remove_standing(frames + veil, 2.0, SETTINGS)
    assert np.abs(cleared.mean(0)).mean() < 0.05 * veil.std() and cleared.std() < 0.3 * veil.std()
    few = remove_standing((frames + veil)[:5], 2.0, SETTINGS)
    assert few.std() > 0.5 * veil.std(), "a mean over few frames is no clutter"


def test_the_edge_of_the_sector_is_no_structure():
    frames = draw(PHASES, speckle(1))
    frames[:, :, 60:] = 0
    fine = remove_standing(frames, 2.0, SETTINGS)
    assert not fine[:, :, 58:].any()
    whole = remove_standing(draw(PHASES, speckle(1)), 2.0, SETTINGS)
    assert np.abs(fine[..., :58] - whole[..., :58]).mean() < 0.2 * np.abs(whole[..., :58]).mean(), "no new structure"
    hole = frames.copy()
    hole[:, 100:110, 20:30] = 0  # a dark cavity belongs to the sector
    assert remove_standing(hole, 2.0, SETTINGS)[:, 99:111, 19:31].any()
