import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import left_ventricle
from cardiac_motion.ventricle.mesh import (
    _perpendiculars,
    arc_length,
    interpolate_fractions,
    is_inside_outlines,
    myocardial_contours,
    myocardial_mesh,
    pair_contours,
    signed_areas,
    wall_mesh,
)


def painted(endo, epi, shape=(240, 200), spacing=0.5):
    """Labels of a ventricle whose contours are in mm; its base lies at the bottom, an atrium under it."""
    rows, columns = np.meshgrid(*(np.arange(n) * spacing for n in shape), indexing="ij")
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    mask = np.zeros(len(points), dtype=np.uint8)
    mask[is_inside_outlines(points, [epi])] = 2
    mask[is_inside_outlines(points, [endo])] = 1
    atrium = (points[:, 0] > endo[0, 0]) & (np.abs(points[:, 1] - 50) < 15) & (points[:, 0] < endo[0, 0] + 12)
    mask[atrium] = 3
    return mask.reshape(shape)


@pytest.fixture(scope="module")
def ventricle():
    return tuple(contour + [8.0, 50.0] for contour in left_ventricle(length=80, width=44, thickness=9))


def distances(points, contour):
    dense = interpolate_fractions(contour, np.linspace(0, 1, 5000))
    return np.array([np.linalg.norm(dense - p, axis=1).min() for p in points])


def test_contours_of_a_mask_are_those_it_was_painted_from(ventricle):
    found = myocardial_contours(painted(*ventricle), (0.5, 0.5))
    for contour, truth in zip(found, ventricle, strict=True):
        assert distances(contour[5:-5], truth).mean() < 0.35
        assert np.linalg.norm(contour[0] - truth[0]) < 2.5
        assert np.linalg.norm(contour[-1] - truth[-1]) < 2.5


def test_contours_scale_with_anisotropic_spacing(ventricle):
    mask = painted(*ventricle)
    endo, _ = myocardial_contours(mask, (0.5, 0.5))
    wide, _ = myocardial_contours(mask, (0.5, 1.0))
    np.testing.assert_allclose(wide[:, 1], 2 * endo[:, 1], atol=1e-9)


def test_mesh_has_the_papers_180_points_and_280_triangles_that_fill_the_wall(ventricle):
    mesh = myocardial_mesh(*ventricle)
    assert mesh.nodes.shape == (180, 2) and mesh.triangles.shape == (280, 3)
    areas = signed_areas(mesh.nodes, mesh.triangles)
    assert (areas > 0).all()
    (outline,) = mesh.outlines()
    ring = mesh.nodes[outline]
    enclosed = 0.5 * abs(np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - ring[:, 1] * np.roll(ring[:, 0], -1)))
    assert areas.sum() == pytest.approx(enclosed, rel=1e-9)
    np.testing.assert_allclose(distances(mesh.outer, ventricle[1]), 0, atol=0.05)


def test_points_are_evenly_spread_along_the_epicardium_and_across_the_wall(ventricle):
    mesh = myocardial_mesh(*ventricle)
    along = np.linalg.norm(np.diff(mesh.outer, axis=0), axis=1)
    assert along.std() / along.mean() < 0.05
    across = np.linalg.norm(np.diff(mesh.nodes.reshape(36, 5, 2), axis=1), axis=-1)
    np.testing.assert_allclose(across, across.mean(1, keepdims=True) * np.ones((1, 4)), rtol=1e-9)


def test_segments_are_perpendicular_to_concentric_arcs():
    angle = np.linspace(-2.2, 2.2, 200)
    arc = np.stack([-np.cos(angle), np.sin(angle)], axis=1)
    mesh = myocardial_mesh(20 * arc, 30 * arc)
    ray = mesh.outer - mesh.inner
    radial = mesh.outer / np.linalg.norm(mesh.outer, axis=1, keepdims=True)
    cosine = np.sum(ray * radial, axis=1) / np.linalg.norm(ray, axis=1)
    assert cosine[2:-2].min() > 0.999


def test_a_ring_closes():
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    mesh = wall_mesh(20 * circle, 30 * circle, closed=True)
    assert len(mesh.triangles) == 36 * 4 * 2 and len(mesh.outlines()) == 2
    polygon = 36 / 2 * np.sin(2 * np.pi / 36)
    assert signed_areas(mesh.nodes, mesh.triangles).sum() == pytest.approx(polygon * (30**2 - 20**2), rel=1e-9)


def test_bad_masks_say_what_is_wrong(ventricle):
    mask = painted(*ventricle)
    with pytest.raises(InputError, match=r"p1: no myocardium \(label 2\).*\[0, 1, 3\]"):
        myocardial_contours(np.where(mask == 2, 0, mask), name="p1")
    with pytest.raises(InputError, match="no cavity"):
        myocardial_contours(np.where(mask == 1, 0, mask))
    with pytest.raises(InputError, match="expected a mask \\[H, W\\]"):
        myocardial_contours(mask[None])
    rows, columns = np.mgrid[:80, :80] - 40
    distance = np.hypot(rows, columns)
    around = np.where(distance < 20, 1, np.where(distance < 30, 2, 0))
    with pytest.raises(InputError, match="does not surround the cavity up to an open base"):
        myocardial_contours(around)


def test_contours_that_cross_are_refused(ventricle):
    endo, epi = ventricle
    with pytest.raises(InputError, match="p2: the endocardium and the epicardium cross"):
        myocardial_mesh(endo + [0, 12], epi, name="p2")
    with pytest.raises(InputError, match="swapped"):
        myocardial_mesh(epi, endo)
    with pytest.raises(InputError, match="endocardium must be"):
        myocardial_mesh(endo[:3], epi)


def arch(radius, legs=40.0, points=161):
    """Two walls and half a circle over them, even by length: ``[points, 2]`` about column 50, base at row 80."""
    bend = np.linspace(0, np.pi, 400)
    top = np.stack([80 - legs - radius * np.sin(bend), 50 - radius * np.cos(bend)], axis=1)
    whole = np.concatenate([[[80.0, 50 - radius]], top, [[80.0, 50 + radius]]])
    return interpolate_fractions(whole, np.linspace(0, 1, points))


def test_arc_length_of_an_arch():
    length = arc_length(arch(10.0))
    assert length[0] == 0 and length[-1] == pytest.approx(80 + 10 * np.pi, rel=1e-3)
    assert np.diff(length) == pytest.approx(length[-1] / 160, rel=1e-2)


def test_a_perpendicular_meets_an_upright_wall_at_its_own_height():
    """Legs face each other at one height, half circles at one angle; by length alone they would not."""
    outer, inner = arch(20.0), arch(10.0, points=201)
    met = _perpendiculars(outer, inner, np.full(161, np.nan))
    assert np.isnan(met).all(), "beside a place that is not known, every perpendicular has missed"
    total = 80 + 10 * np.pi
    height = np.clip(80 - outer[:, 0], 0, 40)
    angle = np.arctan2(np.clip(40 - outer[:, 0], 0, None), 50 - outer[:, 1])
    expected = np.where(height < 40, np.where(outer[:, 1] < 50, height, total - height), 40 + 10 * angle) / total
    met = _perpendiculars(outer, inner, expected)
    away = np.abs(80 - outer[:, 0] - 40) > 2  # a tangent by differences is between the two where a leg ends
    off = np.abs(met - expected)[away]
    assert off.max() < 2e-3 and np.unique(met[away]).size == away.sum()
    mirrored = _perpendiculars(outer[::-1], inner[::-1], 1 - expected[::-1])
    np.testing.assert_allclose(mirrored[::-1], 1 - met, atol=1e-9)
    for moved in (_perpendiculars(outer + 500, inner + 500, expected), _perpendiculars(-outer, -inner, expected)):
        np.testing.assert_allclose(moved, met, atol=1e-9)
    wrong = np.where(np.arange(161) == 30, expected + 0.2, expected)
    assert _perpendiculars(outer, inner, wrong)[30] == wrong[30], "it landed further from its place than is believed"


def test_paired_points_face_each_other_on_upright_walls():
    inner, outer = pair_contours(arch(10.0, points=201), arch(20.0, points=201), 40)
    assert inner.shape == outer.shape == (40, 2)
    assert outer[0].tolist() == pytest.approx([80, 30]) and outer[-1].tolist() == pytest.approx([80, 70])
    assert inner[0].tolist() == pytest.approx([80, 40]) and inner[-1].tolist() == pytest.approx([80, 60])
    np.testing.assert_allclose(inner[:, 1] - 50, -(inner[::-1, 1] - 50), atol=0.05)
    legs = outer[:, 0] > 48
    assert np.abs(inner[legs, 0] - outer[legs, 0])[1:-1].max() < 2.5
    steps = np.linalg.norm(np.diff(outer, axis=0), axis=1)
    assert steps == pytest.approx(steps.mean(), rel=0.02), "even along the epicardium"


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_both_contours_begin_at_the_base_of_the_lower_column_however_the_wall_stands(turns):
    """Half an ellipse, its base below, to the right, above or to the left."""
    row, column = np.mgrid[:81, :81]
    labels = [np.hypot((row - 60) / 2, column - 40 - 0.05 * (row - 60)) < radius for radius in (18, 24)]
    labels = np.where(labels[0], 1, np.where(labels[1], 2, 0)) * (row <= 60)
    endo, epi = myocardial_contours(np.rot90(labels, turns))
    assert endo[0, 1] < endo[-1, 1] and epi[0, 1] < epi[-1, 1]
    assert np.linalg.norm(endo[0] - epi[0]) < 10 and np.linalg.norm(endo[-1] - epi[-1]) < 10, "on the same sides"


def test_of_an_odd_number_of_points_the_middle_one_is_the_apex():
    for line, radius in zip(pair_contours(arch(10.0, points=201), arch(20.0, points=201), 41), (10, 20), strict=True):
        assert line.shape == (41, 2) and line[20].tolist() == pytest.approx([40 - radius, 50], abs=0.05)
        np.testing.assert_allclose(line[:, 1] - 50, -(line[::-1, 1] - 50), atol=0.05)


def test_outlines_go_around_the_wall_once():
    inner = np.stack([np.zeros(4), np.arange(4.0)], axis=1)
    open_wall = wall_mesh(inner, inner + [2.0, 0.0], layers=3)
    (outline,) = open_wall.outlines()
    assert outline.tolist() == [0, 3, 6, 9, 10, 11, 8, 5, 2, 1]
    np.testing.assert_array_equal(open_wall.inner, inner)
    np.testing.assert_array_equal(open_wall.outer, inner + [2.0, 0.0])
    turn = np.arange(12) * np.pi / 6
    circle = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    ring = wall_mesh(circle, 2 * circle, layers=4, closed=True)
    assert [outline.tolist() for outline in ring.outlines()] == [list(range(0, 48, 4)), list(range(3, 48, 4))]
    areas = signed_areas(ring.nodes, ring.triangles)
    assert len(areas) == 12 * 3 * 2 and (areas > 0).all()
    assert areas.sum() == pytest.approx(12 / 2 * np.sin(np.pi / 6) * (4 - 1)), "between two twelve-sided polygons"
    assert ring.columns == 12 and ring.layers == 4 and ring.closed and not open_wall.closed


def test_a_mesh_is_made_as_it_is_asked_for():
    mesh = myocardial_mesh(arch(10.0), arch(20.0), columns=12, layers=3)
    assert (mesh.columns, mesh.layers, len(mesh.nodes), len(mesh.triangles)) == (12, 3, 36, 44)
    with pytest.raises(InputError) as caught:
        myocardial_mesh(arch(20.0), arch(10.0), name="p.nii")
    assert str(caught.value) == "p.nii: the endocardium does not lie within the epicardium; are the two swapped?"
    line = np.stack([np.zeros(5), np.arange(5.0)], axis=1)
    crossed = line + np.array([1.0, 1.0, 1.0, -1.0, -1.0])[:, None] * [1.0, 0.0]
    with pytest.raises(InputError, match=r"^w: the inner and the outer contour cross \(\d+ inverted triangles\)$"):
        wall_mesh(line, crossed, 2, name="w")
    with pytest.raises(InputError, match=r"^contours: the inner and the outer contour cross \(\d inverted triangles"):
        wall_mesh(line, line + np.array([0.0, 1.0, 1.0, 1.0, 1.0])[:, None] * [1.0, 0.0], 2)
    with pytest.raises(InputError, match=r"^q: the epicardium must be \[n >= 8, 2\] finite points, got shape"):
        pair_contours(arch(10.0), arch(20.0, points=7), name="q")
    with pytest.raises(InputError, match="endocardium and the epicardium cross"):
        myocardial_mesh(arch(10.0) + [0.0, 15.0], arch(20.0))
