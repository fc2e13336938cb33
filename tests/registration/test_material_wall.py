"""The wall registered in material coordinates: known motion comes back, and what lies beside the wall is not read."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from cardiac_motion.fields.points import track
from cardiac_motion.registration.material_wall import WallObjective, follow_wall, refine
from cardiac_motion.registration.straight_wall import StraightWall, WallSettings, affine_smoother, begin, write_fields

SIZE, CENTRE, MIDDLE, THICK = (150, 170), np.array([118.0, 85.0]), 60.0, 16.0
BEAT = 12  # frames
SETTINGS = WallSettings()


def speckle(seed, size=(720, 90)):
    """A material texture: fine along the wall and across it."""
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 6.0)
    return texture / texture.std()


def shape(phase):
    """Of a phase 0 to 1: thickness, mid-wall radius, turn (radians) and shift (pixels) of a half ring that contracts,
    thickens, bends and slides along itself."""
    return THICK * (1 + 0.25 * phase), MIDDLE * (1 - 0.12 * phase), 0.06 * phase, np.array([-3.0, 2.0]) * phase


def place(s, d, phase):
    """Places ``[..., 2]`` of material points: s 0 to 1 along the wall, d 0 to 1 across it."""
    thick, middle, turn, shift = shape(phase)
    angle = np.pi * s + turn + 0.08 * phase * np.sin(np.pi * s) ** 2  # more stretch on one side than on the other
    radius = middle + (d - 0.5) * thick
    return CENTRE + shift + np.stack([-radius * np.sin(angle), -radius * np.cos(angle)], -1)


def material(points, phase):
    """s and d of places: the inverse of ``place``."""
    thick, middle, turn, shift = shape(phase)
    row, column = np.moveaxis(points - CENTRE - shift, -1, 0)
    d = (np.hypot(row, column) - middle) / thick + 0.5
    whole = np.arctan2(-row, -column)
    s = (whole - turn) / np.pi
    for _ in range(8):
        s = (whole - turn - 0.08 * phase * np.sin(np.pi * s) ** 2) / np.pi
    return s, d


def draw(phases, texture, around=0.5, noise=0.0, seed=0):
    """Frames ``[T, *SIZE]`` of the ring over ``around``, a number or a picture."""
    grid = np.moveaxis(np.mgrid[: SIZE[0], : SIZE[1]].astype(float), 0, -1)
    rng, frames = np.random.default_rng(seed), []
    for phase in phases:
        s, d = material(grid, phase)
        at = [40 + s * 640, 15 + d * 60]
        wall = 0.5 + 0.2 * ndimage.map_coordinates(texture, at, order=3, mode="nearest")
        inside = (s > -0.02) & (s < 1.02) & (d > -0.02) & (d < 1.02)
        frames.append(np.where(inside, wall, around) + noise * rng.standard_normal(SIZE))
    return np.clip(np.stack(frames), 0, 1).astype(np.float32)


def true_fields(phases, wrong=0.0):
    """The fields of the pairs, ``wrong`` parts of the motion too small, around the wall as in it."""
    grid = np.moveaxis(np.mgrid[: SIZE[0], : SIZE[1]].astype(float), 0, -1)
    fields = []
    for before, after in pairwise(phases):
        fields.append((1 - wrong) * (place(*material(grid, after), before) - grid))
    return torch.from_numpy(np.stack(fields)).movedim(-1, 1).float()


def lines(phase, count=60):
    s = np.linspace(0, 1, count)
    return [place(s, np.full(count, d), phase) for d in (0.0, 1.0)]


def errors(motion, phases, first=0):
    """Distance ``[T, S, D]`` of the wall's points from where they are, in pixels; s is by mid-wall length."""
    s, d = np.linspace(0.04, 0.96, 47), np.linspace(0.1, 0.9, 5)
    at = material(motion.wall.points(s, d), phases[first])
    return np.linalg.norm(motion.path(s, d) - np.stack([place(*at, phase) for phase in phases]), axis=-1)


def register(frames, ddf, phase=0.0, first=0, settings=SETTINGS):
    return refine(begin(StraightWall(*lines(phase), settings), ddf, first, settings), frames, first, settings)


PHASES = np.sin(np.pi * np.arange(BEAT + 1) / BEAT)


@pytest.fixture(scope="module")
def found():
    frames = draw(PHASES, speckle(1))
    return register(frames, true_fields(PHASES, 0.2))


def test_a_wall_that_stretches_bends_thickens_and_slides_comes_back(found):
    start = begin(StraightWall(*lines(0.0), SETTINGS), true_fields(PHASES, 0.2), 0, SETTINGS)
    assert errors(start, PHASES).max() > 1.5, "what it begins with is a fifth of the motion off"
    off = errors(found, PHASES)
    assert off.mean() < 0.1 and off.max() < 0.5


def test_strain_of_both_borders_comes_back(found):
    s = np.linspace(0, 1, 200)
    path = found.path(s, np.array([0.0, 1.0]))
    lengths = np.linalg.norm(np.diff(path, axis=1), axis=-1).sum(1)
    at = material(found.wall.points(s, np.array([0.0, 1.0])), 0.0)
    true = np.linalg.norm(np.diff(np.stack([place(*at, phase) for phase in PHASES]), axis=1), axis=-1).sum(1)
    strains, truth = lengths / lengths[0] - 1, true / true[0] - 1
    assert truth[BEAT // 2, 0] < -0.14
    assert np.abs(strains - truth).max() < 0.01


def test_the_reference_frame_may_be_any():
    frames = draw(PHASES, speckle(2))
    motion = register(frames, true_fields(PHASES, 0.2), PHASES[5], 5)
    assert np.abs(motion.displacement(np.array([0.3]), np.array([0.2]))[5]).max() < 1e-5
    assert errors(motion, PHASES, 5).mean() < 0.1


def test_three_identical_beats_end_where_they_began():
    phases = np.concatenate([PHASES[:-1], PHASES[:-1], PHASES])
    frames = draw(phases, speckle(3))
    ddf = true_fields(phases)
    ddf[:, 0] -= 0.03  # the fields drift by 1.4 pixels
    motion = register(frames, ddf)
    s, d = np.linspace(0.05, 0.95, 19), np.array([0.2, 0.8])
    begun = begin(StraightWall(*lines(0.0), SETTINGS), ddf, 0, SETTINGS)
    for beat in (1, 2, 3):
        off = np.linalg.norm(motion.displacement(s, d)[beat * BEAT], axis=-1)
        assert off.mean() < 0.1 and off.max() < 0.25
    assert np.linalg.norm(begun.displacement(s, d)[-1], axis=-1).mean() > 1


def test_what_lies_beside_the_wall_changes_nothing():
    texture, rng = speckle(4), np.random.default_rng(5)
    plain, ddf = draw(PHASES, texture), true_fields(PHASES, 0.1)
    changed = plain.copy()
    for frame in changed:
        far = ndimage.distance_transform_edt(frame == 0.5) > 14  # beyond the Gaussian that smooths the frames
        assert far.sum() > 10_000
        frame[far] = rng.random(SIZE)[far]
    a, b = (
        register(frames, ddf).displacement(np.linspace(0, 1, 30), np.linspace(0, 1, 5)) for frames in (plain, changed)
    )
    assert np.abs(a - b).max() < 0.01


def test_frames_that_match_nothing_are_carried_by_the_others(found):
    frames = draw(PHASES, speckle(1))
    frames[6:8] = np.random.default_rng(0).random((2, *SIZE))
    off = errors(register(frames, true_fields(PHASES, 0.2)), PHASES)
    assert off.mean() < 0.15 and off[6:8].mean() < 0.4


def test_clutter_over_a_part_of_the_wall_does_not_hold_it():
    frames, ddf = draw(PHASES, speckle(1)), true_fields(PHASES, 0.4)
    veil = ndimage.gaussian_filter(np.random.default_rng(8).standard_normal(SIZE), 1.0).astype(np.float32)
    veil[:, 85:] = 0
    kept = replace(SETTINGS, standing=(2.0, 3.0))  # nothing is removed
    off, held = (errors(register(frames + veil, ddf, settings=settings), PHASES) for settings in (SETTINGS, kept))
    assert off.mean() < 0.4 and held.mean() > 2


def test_decorrelated_speckle_is_believed_less():
    still = np.zeros(9)
    frames = np.stack([draw([0.0], speckle(10 + t))[0] for t in range(9)])  # every frame another texture
    motion = register(frames, torch.zeros(8, 2, *SIZE))
    assert errors(motion, still).mean() < 1.0, "chance matches move the wall by less than its windows"


def test_the_gradient_is_the_objectives():
    frames = draw(PHASES[:5], speckle(6), noise=0.02)
    motion = begin(StraightWall(*lines(0.0), SETTINGS), true_fields(PHASES[:5], 0.3), 0, SETTINGS)
    objective = WallObjective(motion, frames, 2.0, 10.0, 0, SETTINGS)
    rng = np.random.default_rng(0)
    u = 0.1 * rng.standard_normal(motion.correction.shape)
    along = rng.standard_normal(u.shape)
    gradient = objective.derivatives(objective.correlate(u))[0]
    high, low = (objective.value(objective.correlate(u + h * along).rho) for h in (0.02, -0.02))
    assert (gradient * along).sum() == pytest.approx((high - low) / 0.04, rel=0.1)


def test_fields_carry_the_wall_as_its_motion_does(found):
    ddf = true_fields(PHASES, 0.2)
    made = write_fields(found, ddf)
    s, d = np.linspace(0, 1, 40), np.array([0.0, 0.5, 1.0])
    start = torch.from_numpy(found.wall.points(s, d).reshape(-1, 2)).float()
    path = track(start, made).numpy()
    assert np.linalg.norm(path - found.path(s, d).reshape(len(path), -1, 2), axis=-1).max() < 0.12
    assert torch.equal(made[..., :8, :8], ddf[..., :8, :8]), "away from the wall they stay"
    assert torch.equal(made[:, :, int(CENTRE[0]), int(CENTRE[1])], ddf[:, :, int(CENTRE[0]), int(CENTRE[1])])


def test_pairs_and_lines_give_fields():
    frames = torch.from_numpy(draw(PHASES[:4], speckle(7)))
    pairs, ddf = torch.stack([frames[:-1], frames[1:]], 1), true_fields(PHASES[:4], 0.2)
    made = follow_wall(pairs, ddf, *lines(0.0))
    s = np.linspace(0.05, 0.95, 30)
    start = place(s, np.full(30, 0.5), 0.0)
    truth = place(s, np.full(30, 0.5), PHASES[3])
    before, after = (
        np.linalg.norm(track(torch.from_numpy(start).float(), f)[-1].numpy() - truth, axis=-1).mean()
        for f in (ddf, made)
    )
    assert after < 0.15 < 0.5 < before


def test_an_affine_fit_goes_on_beyond_its_points():
    row, column = np.mgrid[:20.0, :12.0].reshape(2, -1)
    weight = ((row > 4) & (row < 15)).astype(float)
    fitted = affine_smoother(np.stack([row, column], -1), weight, 4.0) @ np.stack([1 + 0.2 * row, column], -1)
    assert np.abs(fitted - np.stack([1 + 0.2 * row, column], -1)).max() < 0.3
