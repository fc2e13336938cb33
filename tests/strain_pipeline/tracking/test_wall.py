"""The wall of a cine from its segmentation, and which of its beats can be measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.square import FrameGrid
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.tracking.image_networks import HeartMemberships
from cardiac_motion.strain_pipeline.tracking.region import region_around
from cardiac_motion.strain_pipeline.tracking.wall import (
    Segmented,
    extract_lines,
    find_nearest_frame,
    join_pieces,
    wall_in,
    walls_of,
)
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.contours import LAYERS
from tests.strain_pipeline.known import APEX, SHARE, WALL, cine

FRAMES = 24
WAVE = 1000 - 200 * (1 - np.cos(2 * np.pi * np.arange(FRAMES + 1) / FRAMES))  # one beat, end-systole in its middle


def ventricle(size=(90, 100), base=70):
    """Label map of half an ellipse in a wall 6 pixels thick."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = ((rows - base) / 50) ** 2 + ((columns - 50) / 18) ** 2 <= 1
    outside = ((rows - base) / 56) ** 2 + ((columns - 50) / 24) ** 2 <= 1
    return (np.where(inside, 1, np.where(outside, 2, 0)) * (rows <= base)).astype(np.uint8)


def memberships(labels):
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 4).movedim(-1, 1).float()


def width_at(line, row):
    """Distance of the two sides of a line at a row."""
    top = int(line[:, 0].argmin())
    return abs(np.interp(-row, -line[:top, 0], line[:top, 1]) - np.interp(row, line[top:, 0], line[top:, 1]))


def test_areas_are_sums_of_memberships_and_labels_the_largest():
    labels = np.stack([ventricle()] * 3)
    shares = 0.8 * memberships(labels) + 0.05
    found = extract_lines(shares, 40)
    odd = extract_lines(shares, 41).lines[0, 0]
    assert odd[20, 0] == pytest.approx(20, abs=1) and odd[20, 1] == pytest.approx(50, abs=1), "the apex is one of them"
    np.testing.assert_array_equal(found.labels.numpy(), labels)
    np.testing.assert_allclose(found.areas, 0.8 * (labels == 1).sum((1, 2)) + 0.05 * labels[0].size, rtol=1e-5)
    assert found.lines.shape == (3, 3, 40, 2) and not found.reasons
    endo = found.lines[0, 0]
    assert endo[:, 0].min() == pytest.approx(20, abs=1) and endo[[0, -1], 0] == pytest.approx([70, 70], abs=1.5)
    epi = found.lines[0, 2]
    assert epi[:, 0].min() == pytest.approx(14, abs=1)
    # at row 45, half way up, the ellipses are as wide as their widths times √(1 − ¼) and √(1 − (25/56)²)
    assert width_at(endo, 45) == pytest.approx(36 * 0.866, abs=1.5)
    assert width_at(epi, 45) == pytest.approx(48 * 0.895, abs=1.5)


def test_parts_of_a_cine_are_the_whole():
    labels = np.stack([ventricle()] * 5)
    whole, parts = extract_lines(memberships(labels), 40), extract_lines(iter(memberships(labels).split(2)), 40)
    np.testing.assert_array_equal(whole.labels, parts.labels)
    np.testing.assert_array_equal(whole.areas, parts.areas)
    np.testing.assert_array_equal(whole.lines, parts.lines)


def test_lines_of_a_grid_lie_in_the_frames_pixels():
    labels = np.stack([ventricle()] * 2)
    grid = FrameGrid((300, 320), labels.shape[1:], 10.0, 20.5, 2.0)
    whole = extract_lines(memberships(labels), 40)
    found = extract_lines(HeartMemberships(memberships(labels).split(1), grid), 40)
    np.testing.assert_allclose(found.lines, (whole.lines + 0.5) * 2 - 0.5 + [10.0, 20.5])
    np.testing.assert_allclose(found.areas, 4 * whole.areas)
    wall = wall_in(case(), replace(found, areas=WAVE, lines=np.repeat(found.lines[:1], len(WAVE), 0)))
    pasted = wall.frame_labels(slice(0, 1))
    assert pasted.shape == (1, 300, 320) and wall.labels.shape == labels.shape
    assert (pasted == 1).sum() == pytest.approx(4 * (labels[0] == 1).sum(), rel=0.02)


@pytest.mark.parametrize("pixels, stops", [(35, True), (36, False)])
def test_a_cavity_of_few_pixels_is_none(pixels, stops):
    labels = np.zeros((2, 90, 100), np.uint8)  # of which four in a thousand are 36
    labels[1].flat[5000 : 5000 + pixels] = 1
    if stops:
        with pytest.raises(InputError, match=r"a\.dcm: no left ventricle found \(a cavity of 35 pixels at most\)"):
            extract_lines(memberships(labels), 40, "a.dcm")
    else:
        assert set(extract_lines(memberships(labels), 40, "a.dcm").reasons) == {0, 1}


def case(areas=WAVE, contour=None, **said):
    loop = cine(len(areas), times=(0.04 * np.arange(len(areas))).tolist())
    entry = CineEntry("a", "a.dcm", contour=contour, **said)
    return CineCase(entry, torch.zeros(len(areas) - 1, 2, *loop.shape[2:]), None, loop)


def known(areas=WAVE, without=()):
    lines = np.stack([WALL] * len(areas))
    lines[list(without)] = np.nan
    labels = torch.zeros(len(areas), *cine(1).shape[2:], dtype=torch.uint8)
    return Segmented(labels, np.asarray(areas, float), lines, {t: f"frame {t}: no cavity" for t in without})


def test_the_beat_of_a_wave():
    wall = wall_in(case(), known())
    assert wall.beats == (Beat(0, 12, 24, True),) and wall.warnings == () and wall.drawn == ()
    np.testing.assert_array_equal(wall.lines, known().lines)


def test_a_wall_that_is_not_whole_at_end_diastole_is_taken_from_the_next_frame_that_has_one():
    wall = wall_in(case(), known(without=(0, 1, 2)))
    assert len(wall.beats) == 1 and "is taken from frame 3 (frame 0: no cavity)" in wall.warnings[0]


def test_without_a_wall_in_systole_there_is_no_beat():
    with pytest.raises(InputError, match=r"a\.dcm: no wall in systole, at frame 0: frame 0: no cavity"):
        wall_in(case(), known(without=range(13)))
    two = np.concatenate([WAVE, WAVE[1:]])
    wall = wall_in(case(two), known(two, without=range(24, 37)))
    assert wall.beats == (Beat(0, 12, 24, True),)
    assert wall.warnings == ("The beat from frame 24 is left out: frame 24: no cavity.",)


def test_half_a_beat_is_told():
    wall = wall_in(case(WAVE[:17]), known(WAVE[:17]))
    assert wall.beats == (Beat(0, 12, 16, False),) and "is not whole: its drift is not known" in wall.warnings[0]
    wall = wall_in(case(WAVE[:12]), known(WAVE[:12]))
    (beat,) = wall.beats
    assert beat.es == beat.end == 11 and "The cine ends before end-systole" in wall.warnings[0]


def test_frames_that_the_user_names():
    wall = wall_in(case(ed=2, es=10), known())
    assert [(b.ed, b.es) for b in wall.beats] == [(2, 10)]


def even(found):
    """The same with lines of an even number of points."""
    at = np.linspace(0, WALL.shape[1] - 1, WALL.shape[1] - 1).round().astype(int)
    return replace(found, lines=found.lines[:, :, at])


def drawn(tmp_path, **content):
    path = tmp_path / "wall.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_wall_drawn_at_a_frame_takes_the_place_of_its_lines(tmp_path):
    lines = APEX + 0.9 * (WALL - APEX)
    path = drawn(tmp_path, drawn=[5], **{name: [lines[k].tolist()] for k, name in enumerate(LAYERS)})
    two = np.concatenate([WAVE, WAVE[1:]])
    wall = wall_in(case(two, contour=path), known(two))
    assert wall.drawn == (5,) and wall.beats == (Beat(0, 12, 24, True),), "one beat alone is measured"
    np.testing.assert_allclose(wall.lines[5], lines, atol=0.8)
    np.testing.assert_array_equal(np.delete(wall.lines, 5, 0), np.delete(known(two).lines, 5, 0))
    path = drawn(tmp_path, drawn=[30], **{name: [lines[k].tolist()] for k, name in enumerate(LAYERS)})
    with pytest.raises(InputError, match="drawn at frame 30, the beat is from 0 to 24"):
        wall_in(case(two, contour=path), known(two))


@pytest.mark.parametrize("odd", [False, True])
def test_an_endocardium_alone_gets_the_segmented_thickness(tmp_path, odd):
    path = drawn(tmp_path, endocardium=WALL[0].tolist())
    found = known(without=(0,))
    wall = wall_in(case(contour=path), found if odd else even(found))
    assert wall.lines.shape[2] == WALL.shape[1] - (not odd)
    assert wall.drawn == (0,) and wall.warnings == ()
    np.testing.assert_allclose(wall.lines[0, 0, [0, -1]], WALL[0, [0, -1]], atol=0.1)
    thick = np.linalg.norm(wall.lines[0, 2] - wall.lines[0, 0], axis=-1)[20:40]  # away from base and apex
    expected = np.median(np.linalg.norm(WALL[2] - WALL[0], axis=-1))
    assert np.median(thick) == pytest.approx(expected, rel=0.1)


def test_a_ventricle_that_jumps_is_no_wall_where_that_is_looked_for():
    labels = np.stack([ventricle()] * 9)
    labels[4] = np.roll(ventricle(), 9, axis=1)  # of a length of 50 pixels
    walls, reasons = walls_of(labels, 40)
    assert set(reasons) == {4} and "18% of the ventricle's length" in reasons[4] and np.isnan(walls[4]).all()
    walls, reasons = walls_of(labels, 40, steady=False)
    assert not reasons and np.isfinite(walls).all()
    labels[4] = np.roll(ventricle(), 7, axis=1)
    assert not walls_of(labels, 40)[1]


@pytest.mark.parametrize("gap, whole", [(3, True), (14, True), (24, False)])
def test_pieces_are_joined_over_small_gaps(gap, whole):
    labels = np.zeros((40, 90), np.uint8)
    labels[10:30, 5:30], labels[10:30, 30 + gap : 80] = 2, 2
    labels[18:22, 28:32] = np.where(labels[18:22, 28:32] == 0, 1, labels[18:22, 28:32])
    found = join_pieces(labels)
    assert (found[20, 33 : 30 + gap] == 2).all() == whole
    np.testing.assert_array_equal(found == 1, labels == 1)
    one = np.where(labels == 2, 2, 0).astype(np.uint8)
    one[10:30, 30 : 30 + gap] = 2
    assert join_pieces(one) is one


def test_nearest_is_the_first_frame_seen_after_end_diastole():
    seen = np.array([True, False, False, True, True])
    assert find_nearest_frame(seen, Beat(1, 4, 4, False)) == 3 and find_nearest_frame(seen, Beat(0, 3, 4, False)) == 0


def test_the_region_holds_all_lines_and_its_margin():
    lines = np.stack([APEX + share * (WALL - APEX) for share in SHARE])
    # the endocardium's apex is √(80² + 0²) from the middle of its base, but its base's ends are no further than 30;
    # the epicardium lies in rows 12 to 100 and columns 29 to 101
    assert region_around(lines, 0.0) == ((12, 101), (29, 102))
    assert region_around(lines, 0.1) == ((4, 109), (21, 110))
    assert region_around(lines, 0.5) == ((0, 141), (0, 142))
    assert region_around(np.concatenate([lines, lines[:1] + np.nan]), 0.1) == ((4, 109), (21, 110))


def test_lines_of_the_case_are_left_as_they_are(tmp_path):
    found = even(known())
    path = drawn(tmp_path, endocardium=(WALL[0] + 2).tolist())
    wall_in(replace(case(), entry=CineEntry("a", "a.dcm", contour=path)), found)
    np.testing.assert_array_equal(found.lines, even(known()).lines)
