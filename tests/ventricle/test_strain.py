"""Strain of contours whose deformation is known."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.strain import (
    cavity_areas,
    disc_diameters,
    disc_volume,
    drift,
    ejection_fraction,
    end_systole,
    gls,
    lagrangian,
    length,
    long_axis,
    long_axis_strain,
    mapse_mm,
    mechanical_dispersion,
    peak,
    peak_systolic,
    post_systolic_index,
    remove_drift,
    segment_bounds,
    segment_lengths,
    strain_rate,
)


def ventricle(points=201):
    """Half an ellipse, base below, in pixels."""
    angle = np.linspace(0, np.pi, points)
    return np.stack([100 - 60 * np.sin(angle), 80 - 25 * np.cos(angle)], -1)


def test_translation_and_rotation_are_no_strain():
    shape = ventricle()
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    moved = np.stack([shape, shape + [3.0, -7.0], shape @ turn.T])
    assert gls(moved) == pytest.approx(0, abs=1e-12)
    assert long_axis_strain(moved) == pytest.approx(0, abs=1e-12)
    assert mapse_mm(moved, (0.5, 0.5)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.1])
def test_uniform_stretch(factor):
    moved = np.stack([ventricle(), factor * ventricle()])
    assert gls(moved) == pytest.approx([0, factor - 1])
    assert long_axis_strain(moved, (0.5, 0.5)) == pytest.approx([0, factor - 1])


def test_long_axis_of_known_length():
    shape = ventricle()
    shorter = shape.copy()
    shorter[:, 0] = 100 - 0.75 * (100 - shape[:, 0])
    moved = np.stack([shape, shorter])
    assert long_axis(moved) == pytest.approx([60, 45])
    assert long_axis_strain(moved) == pytest.approx([0, -0.25])
    assert mapse_mm(moved, (0.4, 0.9)) == pytest.approx([0, 15 * 0.4])


def test_length_takes_the_spacing_of_each_axis():
    line = np.array([[[0.0, 0.0], [3.0, 4.0]]])
    assert length(line) == pytest.approx([5])
    assert length(line, (2.0, 2.0)) == pytest.approx([10])
    assert length(line, (1.0, 2.0)) == pytest.approx([np.hypot(3, 8)])


def test_any_frame_can_be_end_diastole():
    moved = np.stack([0.8 * ventricle(), ventricle()])
    assert gls(moved, ed=1) == pytest.approx([-0.2, 0])
    assert peak_systolic(gls(moved, ed=1), 1, 0) == pytest.approx(-0.2)


def test_peak_is_looked_for_in_systole_alone():
    assert peak_systolic([0, -0.1, -0.15, -0.2], 0, 2) == -0.15


def test_end_systole_is_the_smallest_cavity():
    assert end_systole(np.stack([f * ventricle() for f in (1, 0.9, 0.7, 0.8)])) == 2


def test_what_cannot_be():
    with pytest.raises(InputError, match="end-diastole at frame 2"):
        gls(np.stack([ventricle()] * 2), ed=2)
    with pytest.raises(InputError, match="length at end-diastole is 0"):
        lagrangian([0.0, 1.0])
    with pytest.raises(InputError, match="spacing"):
        mapse_mm(np.stack([ventricle()] * 2), None)


def test_segments_are_parts_of_the_whole():
    shape = ventricle(120)
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    moved = np.stack([shape, shape + [4.0, 2.0], shape @ turn.T, 0.8 * shape])
    lengths = segment_lengths(moved)
    assert lengths.shape == (6, 4)
    np.testing.assert_allclose(lengths.sum(0), length(moved))
    np.testing.assert_allclose(lengths / lengths[:, :1] - 1, np.tile([0, 0, 0, -0.2], (6, 1)), atol=1e-12)


def test_one_segment_that_shortens_shows_alone():
    line = np.stack([np.zeros(121), np.arange(121.0)], -1)
    shorter = line.copy()
    shorter[20:40, 1] = 20 + 0.5 * (line[20:40, 1] - 20)
    shorter[40:, 1] -= 10
    strains = segment_lengths(np.stack([line, shorter]))
    np.testing.assert_allclose(strains[:, 1] / strains[:, 0] - 1, [0, -0.5, 0, 0, 0, 0], atol=1e-12)


def test_strain_rate_of_a_parabola():
    times = np.linspace(0, 1, 21)
    np.testing.assert_allclose(strain_rate(-0.2 * times**2, times)[1:-1], -0.4 * times[1:-1], atol=1e-12)


def test_an_even_drift_is_taken_away_and_nothing_else():
    beat = -0.2 * np.sin(np.linspace(0, np.pi, 31)) ** 2
    drifting = beat + 0.03 * np.arange(31) / 30
    assert drift(drifting, 0, 30) == pytest.approx(0.03)
    np.testing.assert_allclose(remove_drift(drifting, 0, 30), beat, atol=1e-12)
    np.testing.assert_allclose(remove_drift(beat, 0, 30), beat, atol=1e-12)


def test_peak_and_what_comes_after_systole():
    curve = [0, -0.1, -0.15, -0.18, -0.05]
    assert peak(curve, 0, 4) == (-0.18, 3)
    assert post_systolic_index(-0.15, -0.18) == pytest.approx(100 / 6)
    assert np.isnan(post_systolic_index(0.05, 0.01))
    assert mechanical_dispersion([300, 340, np.nan]) == pytest.approx(np.std([300, 340], ddof=1))
    assert np.isnan(mechanical_dispersion([300]))


def test_volume_of_an_ellipsoid():
    """Half an ellipsoid of semi-axes 80, 30 and 20 mm, cut at its equator, seen from two sides."""
    angle = np.linspace(0, np.pi, 2001)
    wide, narrow = (np.stack([160 - 160 * np.sin(angle), 100 - 2 * r * np.cos(angle)], -1) for r in (30, 20))
    spacing = (0.5, 0.5)
    exact = 2 / 3 * np.pi * 80 / 1000
    assert disc_volume(wide, spacing) == pytest.approx(exact * 30 * 30, rel=2e-3)
    assert disc_volume(wide, spacing, narrow, spacing) == pytest.approx(exact * 30 * 20, rel=2e-3)
    widths, height = disc_diameters(wide, spacing, 40)
    level = (np.arange(40) + 0.5) / 40
    assert height == pytest.approx(80)
    np.testing.assert_allclose(widths, 60 * np.sqrt(1 - level**2), rtol=1e-3)
    assert ejection_fraction(120.0, 48.0) == pytest.approx(60)


def test_volume_does_not_change_as_the_heart_turns():
    shape = ventricle()
    turn = np.array([[np.cos(1.1), -np.sin(1.1)], [np.sin(1.1), np.cos(1.1)]])
    assert disc_volume(shape @ turn.T, (0.4, 0.4)) == pytest.approx(disc_volume(shape, (0.4, 0.4)))
    with pytest.raises(InputError, match="spacing"):
        disc_volume(shape, None)


NO_SPACING = "a volume needs the pixel spacing, which this cine does not provide"
SQUARE = np.array([[0.0, 0.0], [0.0, 4.0], [3.0, 4.0], [3.0, 0.0]])  # rows 0 to 3, columns 0 to 4, open at column 0


def test_areas_wherever_the_contour_lies_and_however_it_turns():
    shapes = np.stack([SQUARE, SQUARE + [7.0, -5.0], SQUARE[::-1], 2 * SQUARE, 0 * SQUARE])
    assert cavity_areas(shapes) == pytest.approx([12, 12, 12, 48, 0])
    assert cavity_areas(shapes, (0.5, 2.0)) == pytest.approx([12, 12, 12, 48, 0])
    assert cavity_areas(shapes, (0.5, 0.5)) == pytest.approx([3, 3, 3, 12, 0])
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    assert cavity_areas([np.stack([9 + 3 * np.sin(angle), 4 + 2 * np.cos(angle)], -1)])[0] == pytest.approx(
        6 * np.pi, rel=1e-3
    )


def test_pixels_that_are_not_square_change_a_strain():
    """A line along the rows that doubles, and one along the columns that stays: 1 and 2 mm a pixel, and the reverse."""
    corner = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    moved = np.stack([corner, corner * [2.0, 1.0]])
    assert gls(moved)[1] == pytest.approx(0.5)
    assert gls(moved, (2.0, 1.0))[1] == pytest.approx(2 / 3) and gls(moved, (1.0, 2.0))[1] == pytest.approx(1 / 3)
    wall = np.array([[0.0, 0.0], [40.0, 30.0], [0.0, 0.0]])
    moved = np.stack([wall, wall * [0.5, 1.0]])
    assert long_axis_strain(moved, (1.0, 1.0))[1] == pytest.approx(np.hypot(20, 30) / 50 - 1)
    assert long_axis_strain(moved, (1.0, 4 / 3))[1] == pytest.approx(np.hypot(20, 40) / np.hypot(40, 40) - 1)
    segments = segment_lengths(np.stack([np.stack([np.arange(9.0), np.zeros(9)], -1)]), (0.5, 9.0), count=4)
    assert segments.tolist() == [[1.0], [1.0], [1.0], [1.0]] and segment_bounds(9, 4).tolist() == [0, 2, 4, 6, 8]
    thin = np.stack([SQUARE * [1.0, 4.0], SQUARE * [2.0, 3.0]])
    assert end_systole(thin) == 0 and end_systole(thin, (1.0, 1.0)) == 0


def test_any_frame_can_be_end_diastole_of_the_long_axis():
    shape = ventricle()
    wide = shape * [0.5, 4.0]  # its furthest point from the base is another one
    moved = np.stack([wide, shape])
    apex = int(np.linalg.norm(shape - (shape[0] + shape[-1]) / 2, axis=1).argmax())
    expected = np.linalg.norm(wide[apex] - (wide[0] + wide[-1]) / 2)
    assert long_axis(moved, ed=1) == pytest.approx([expected, 60])
    assert long_axis_strain(moved, ed=1) == pytest.approx([expected / 60 - 1, 0])
    assert mapse_mm(moved, (1.0, 1.0), ed=1) == pytest.approx([60 - expected, 0])
    assert long_axis(moved, ed=0)[0] > long_axis(moved, ed=1)[0]


def test_a_beat_that_begins_later():
    curve = np.array([0.5, 0.1, -0.2, -0.3, 0.05, -0.9])  # from frame 1 to 4
    assert drift(curve, 1, 4) == pytest.approx(-0.05)
    assert remove_drift(curve, 1, 4) == pytest.approx(curve + 0.05 * (np.arange(6) - 1) / 3)
    assert peak(curve, 1, 4) == (-0.3, 3)


def test_indices_at_their_limits():
    assert np.isnan(post_systolic_index(-0.1, 0.0)) and post_systolic_index(-0.2, -0.2) == 0
    assert np.isnan(mechanical_dispersion([])) and mechanical_dispersion([300.0, 300.0]) == 0
    assert lagrangian([0.5, 0.25]).tolist() == [0.0, -0.5], "a length under one is one too"


def test_measures_are_computed_in_double_precision():
    third, fine = np.float32(1 / 3), np.array([0.1, 0.2, 0.4], dtype=np.float32)
    assert lagrangian(fine).dtype == strain_rate(fine, fine).dtype == remove_drift(fine, 0, 2).dtype == np.float64
    assert drift(fine, 0, 2) == float(fine[2]) - float(fine[0])
    assert peak_systolic([third, -third], 0, 1) == -float(third)
    whole = np.array([2**31, 2**31 + 2, 2**31 + 1], dtype=np.float32)
    assert mechanical_dispersion(np.array([2**24 + 2, 2**24, 2**24 + 4], dtype=np.float32)) == 2.0
    assert remove_drift(whole, 0, 1).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lagrangian([1.0, 2.0], 2), "end-diastole at frame 2 is outside the cine, frames 0 to 1"),
        (lambda: lagrangian([1.0, 2.0], -1), "end-diastole at frame -1 is outside the cine, frames 0 to 1"),
        (lambda: lagrangian([0.0, 1.0]), "the contour's length at end-diastole is 0"),
        (lambda: mapse_mm([SQUARE], None), "MAPSE in mm needs the pixel spacing, which this cine does not provide"),
        (lambda: disc_volume(SQUARE, None), "a volume needs the pixel spacing, which this cine does not provide"),
        (
            lambda: disc_volume(SQUARE, (1, 1), SQUARE),
            "a volume needs the pixel spacing, which this cine does not provide",
        ),
    ],
)
def test_what_an_error_says(call, words):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == words


def test_discs_of_a_triangle_and_of_a_cavity_with_a_bay():
    """Width falls evenly to the apex; a wall that comes in from the side is left out of the width."""
    triangle = np.array([[100.0, 20.0], [0.0, 50.0], [100.0, 80.0]])
    widths, height = disc_diameters(triangle, (1.0, 1.0))
    assert height == 100 and widths == pytest.approx(60 * (1 - (np.arange(20) + 0.5) / 20))
    far, _ = disc_diameters(triangle + 1000, (1.0, 1.0))
    assert far == pytest.approx(widths)
    bay = np.array([[100.0, 0], [0, 0], [-10, 30], [0, 60], [40, 60], [40, 20], [60, 20], [60, 60], [100.0, 60]])
    widths, height = disc_diameters(bay, (1.0, 1.0), discs=11)
    assert height == 110 and widths[3:6] == pytest.approx([60.0, 20.0, 20.0]) and widths[1] == pytest.approx(60)
    hook = np.array([[100.0, 0], [0, 0], [-10, 30], [0, 60], [40, 60], [40, 50], [20, 50], [20, 40], [100.0, 40]])
    widths, _ = disc_diameters(hook, (1.0, 1.0), discs=11)
    assert widths[7] == pytest.approx(50, abs=0.5), "both parts of the cavity there"
    axis = disc_volume(triangle, (1.0, 1.0)), disc_volume(triangle, (1.0, 1.0), discs=1000)
    assert axis[1] == pytest.approx(np.pi / 3 * 30**2 * 100 / 1000, rel=1e-5) and axis[0] != axis[1]
    other = disc_volume(triangle, (1.0, 1.0), triangle * 2, (1.0, 1.0), discs=1000)
    assert other == pytest.approx(np.pi / 3 * 30 * 60 * 200 / 1000, rel=1e-5), "the longer axis, both widths"
