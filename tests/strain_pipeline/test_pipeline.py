"""The pipeline's parts on a wall whose motion is known at every pixel."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.contour import track_contour
from cardiac_motion.fields.ddf import warp
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures, mean
from cardiac_motion.strain_pipeline.tracking.motion import (
    Fusion,
    TrackedBeat,
    ncc_after_warp,
    smooth_lines,
    track_wall,
    velocities,
)
from cardiac_motion.strain_pipeline.tracking.wall import Segmented, Wall, join_pieces, wall_in, walls_of
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.contours import wall_contours
from cardiac_motion.ventricle.views import APICAL, apical_view

SIZE = 120
APEX = np.array([20.0, 60.0])
TIMES = np.linspace(0, 1, 21)
SHARE = 1 - 0.2 * np.sin(np.pi * TIMES) ** 2  # of all lengths; end-systole in the middle


def labels_at(share):
    """A wall whose apex stays where it is while everything shrinks towards it."""
    y, x = np.mgrid[:SIZE, :SIZE]
    y, x = APEX[0] + (y - APEX[0]) / share, APEX[1] + (x - APEX[1]) / share
    inside = ((y - 85) / 58) ** 2 + ((x - 60) / 22) ** 2 <= 1
    outside = ((y - 85) / 66) ** 2 + ((x - 60) / 30) ** 2 <= 1
    return (np.where(inside, 1, np.where(outside, 2, 0)) * (y <= 85)).astype(np.uint8)


def fields():
    """The pull-back fields of the pairs, ``[T − 1, 2, H, W]``."""
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")) - APEX[:, None, None]
    ratio = SHARE[:-1] / SHARE[1:]
    return torch.tensor(np.stack([(r - 1) * grid for r in ratio]), dtype=torch.float32)


@pytest.fixture(scope="module")
def heart():
    labels = np.stack([labels_at(s) for s in SHARE])
    texture = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    image = torch.cat([torch.cat([texture, warp(texture, field[None])], 1) for field in fields()])
    cine = MetaTensor(
        torch.rand(1, len(SHARE), SIZE, SIZE), meta={"spacing": (0.8, 0.8), "frame_times": TIMES.tolist()}
    )
    walls, reasons = walls_of(labels, 120)
    assert not reasons
    wall = Wall(torch.from_numpy(labels), np.zeros(len(SHARE)), walls, (Beat(0, 10, 20, True),), ())
    return CineCase(CineEntry("heart", "heart.dcm"), image, None, cine), wall


def tracked(case, wall, **settings):
    (found,) = track_wall(case, wall, RegistrationResult(fields()), Fusion(wall_motion="midwall", **settings))
    return found


@pytest.mark.parametrize("position_sd", [None, 0.02, 0.1])
def test_strain_of_a_known_contraction(heart, position_sd):
    found = tracked(*heart, position_sd=position_sd)
    segmented = heart[1].lines[:, 0]
    measured = StrainMeasures(min_lncc2=0.0)([found], heart[0].meta, APICAL["apical_4ch"], segmented)
    (beat,) = measured.beats
    curve = np.array(beat["curves"]["gls"])
    np.testing.assert_allclose(curve, 100 * (SHARE - 1), atol=0.8)
    numbers = beat["numbers"]
    assert measured.scores.metrics["gls"] == numbers["gls"] == pytest.approx(-20, abs=0.8)
    assert numbers["gls_time_to_peak_ms"] == pytest.approx(500, abs=50)
    for name in ("ejection_fraction", "tracked_ejection_fraction"):
        assert numbers[name] == pytest.approx(100 * (1 - 0.8**3), abs=3)
    assert numbers["drift"] == pytest.approx(0, abs=1.0) and numbers["long_axis_strain"] == pytest.approx(-20, abs=0.8)
    assert all(s["end_systolic"] == pytest.approx(-20, abs=2.5) for s in beat["segments"])
    assert numbers["gls_systolic_rate"] == pytest.approx(-0.2 * np.pi, rel=0.15)


def test_a_given_contour_is_measured_as_the_registration_bundles_do(heart, tmp_path):
    """The same contour and fields: one end-systole, one GLS in %, one drift."""
    case, wall = heart
    path = tmp_path / "ed.json"
    path.write_text(
        json.dumps({"endocardium": wall.lines[0, 0].tolist(), "epicardium": wall.lines[0, 2].tolist()}),
        encoding="utf-8",
    )
    given = replace(case, entry=replace(case.entry, contour=str(path)))
    areas = np.array([(labels_at(s) == 1).sum() for s in SHARE], dtype=float)
    drawn = wall_in(given, Segmented(wall.labels, areas, wall.lines, {}))
    (found,) = track_wall(given, drawn, RegistrationResult(fields()), Fusion(wall_motion="midwall"))
    (beat,) = StrainMeasures(min_lncc2=0.0)([found], case.meta, APICAL["apical_4ch"]).beats
    other = track_contour(given, fields())
    metrics, numbers = other.scores.metrics, beat["numbers"]
    assert beat["es"] == other.es == metrics["es"]
    for name in ("gls", "gls_uncompensated", "long_axis_strain", "drift"):
        assert metrics[name] == pytest.approx(numbers[name], abs=0.3), name
    assert metrics["mapse_mm"] == pytest.approx(numbers["mapse_mm"], abs=0.3)
    np.testing.assert_allclose(100 * other.compensated["gls"], beat["curves"]["gls"], atol=0.4)


def test_velocity_is_the_mean_of_both_neighbours():
    ddf = torch.zeros(3, 2, 10, 10)
    for t, step in enumerate((1.0, 2.0, 3.0)):
        ddf[t, 0] = -step
    found = velocities(torch.full((4, 2, 2), 5.0), ddf)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([1.0, 1.5, 2.5, 3.0]))
    assert (found[..., 1] == 0).all()


def test_ncc_is_one_where_the_field_is_right():
    frame = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    right = torch.full((1, 2, 40, 40), 0.0)
    right[:, 1] = 3.0
    pair = torch.cat([frame, frame.roll(-3, 3)], 1)
    assert ncc_after_warp(pair, right, 4)[..., 10:30, 10:30].min() > 0.999
    assert ncc_after_warp(pair, torch.zeros_like(right), 4)[..., 10:30, 10:30].mean() < 0.2


def test_a_frame_whose_wall_is_torn_counts_as_having_none():
    labels = np.stack([labels_at(s) for s in SHARE])
    labels[7][55:, 62:] = 0
    labels[12] = 0
    walls, reasons = walls_of(labels, 120)
    assert set(reasons) == {7, 12} and "from the frames around it" in reasons[7] and "no cavity" in reasons[12]
    assert np.isnan(walls[[7, 12]]).all() and np.isfinite(np.delete(walls, [7, 12], 0)).all()


def test_smoothing_along_a_line_keeps_the_strain():
    line = wall_contours(labels_at(1.0))[None]
    lines = np.concatenate([line, APEX + 0.8 * (line - APEX) + 3])
    smooth = smooth_lines(lines, 3.0)
    assert np.abs(smooth - lines).max() < 1.5, "pixels"
    lengths = np.linalg.norm(np.diff(smooth, axis=2), axis=-1).sum(-1)
    np.testing.assert_allclose(lengths[1] / lengths[0], 0.8)
    rough = lines.copy()
    rough[:, :, ::2] += 0.5
    assert np.linalg.norm(np.diff(smooth_lines(rough, 3.0), axis=2), axis=-1).sum(-1) == pytest.approx(
        lengths, rel=0.01
    )
    assert smooth_lines(lines, 0) is lines


def test_a_wall_in_two_pieces_is_closed():
    whole = labels_at(1.0)
    cut = whole.copy()
    cut[(whole == 2) & (np.abs(np.arange(SIZE) - 52) < 4) & (np.arange(SIZE)[:, None] < 50)] = 0
    assert np.array_equal(join_pieces(whole), whole) and not np.array_equal(cut, whole)
    found = join_pieces(cut)
    assert np.array_equal(found == 1, whole == 1)
    off = np.linalg.norm(wall_contours(found) - wall_contours(whole), axis=-1)
    assert off.mean() < 1.0 and off.max() < 6, "pixels"


def test_a_torn_wall_at_end_diastole_is_taken_from_a_later_frame(heart):
    case, wall = heart
    lines = wall.lines.copy()
    lines[0] = np.nan
    found = tracked(case, replace(wall, lines=lines))
    off = np.linalg.norm(found.lines[0] - wall.lines[0], axis=-1)
    assert off.mean() < 1.5 and off.max() < 4, "pixels"


def beat_with(outside=(), lncc2=1.0, missed=0.0):
    line = wall_contours(labels_at(1.0))
    lines = np.stack([APEX + s * (line - APEX) for s in SHARE])
    found = np.zeros(120, dtype=bool)
    for first, last in outside:
        found[first:last] = True
    return TrackedBeat(Beat(0, 10, 20, True), lines, np.full(120, lncc2), np.full(120, missed), found)


@pytest.mark.parametrize(
    ("beat", "rejected", "gls"),
    [
        (beat_with(), 0, -20.0),
        (beat_with([(0, 12)]), 1, -20.0),
        (beat_with([(0, 4)]), 0, -20.0),
        (beat_with([(0, 60)]), 3, None),
        (beat_with(lncc2=0.1), 6, None),
        (beat_with(missed=5.0), 6, None),
    ],
)
def test_poor_segments_are_left_out(beat, rejected, gls):
    found = StrainMeasures().measure(beat, None, None, APICAL["apical_2ch"].segments())
    out = [s for s in found["segments"] if s["rejected"]]
    assert len(out) == rejected and all(s["end_systolic"] is None for s in out)
    assert found["numbers"]["gls"] == (None if gls is None else pytest.approx(gls, abs=1e-6))
    assert found["numbers"]["mapse_mm"] is None and found["numbers"]["gls_time_to_peak_ms"] is None


def test_names_of_views_and_segments():
    assert apical_view("a2c") is APICAL["apical_2ch"] and apical_view("apical_long_axis").short == "ALAX"
    assert APICAL["apical_4ch"].segments()[0] == "basal inferoseptal"
    assert APICAL["apical_4ch"].segments(mirrored=True)[0] == "basal anterolateral"
    assert len({name for view in APICAL.values() for name in view.segments()}) == 18
    with pytest.raises(InputError, match="strain can be measured in"):
        apical_view("PLAX")
    with pytest.raises(InputError, match="expected one of"):
        StrainMeasures(layer="wall")
    assert mean([None, 1.0, 3.0]) == 2.0 and mean([None]) is None


def test_strain_of_pixels_that_are_not_square_without_millimetres():
    """Lines that shorten by a tenth along the rows alone: what share of their length that is, the steps tell."""
    beat = beat_with()
    rows = beat.lines[..., :1] * np.linspace(1, 0.9, len(beat.lines))[:, None, None, None]
    beat = replace(beat, lines=np.concatenate([rows, beat.lines[..., 1:]], -1))
    names, found = APICAL["apical_2ch"].segments(), {}
    for steps in ((1.0, 1.0), (2.0, 1.0), (0.5, 1.0)):
        found[steps] = StrainMeasures(drift_correction=False).measure(beat, None, None, names, steps)["curves"][
            "gls_mid_wall"
        ][-1]
        expected = StrainMeasures(drift_correction=False).measure(beat, steps, None, names)["curves"]["gls_mid_wall"][
            -1
        ]
        assert found[steps] == pytest.approx(expected)
    assert found[2.0, 1.0] < found[1.0, 1.0] < found[0.5, 1.0] < 0
