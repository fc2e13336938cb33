import numpy as np
import pytest

from common.core.errors import InputError
from common.simulation.anatomy import left_ventricle
from common.ventricle.mesh import (
    at_fractions,
    inside_outlines,
    myocardial_contours,
    myocardial_mesh,
    signed_areas,
    wall_mesh,
)


def painted(endo, epi, shape=(240, 200), spacing=0.5):
    """Labels of a ventricle whose contours are in mm; its base lies at the bottom, an atrium under it."""
    rows, columns = np.meshgrid(*(np.arange(n) * spacing for n in shape), indexing="ij")
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    mask = np.zeros(len(points), dtype=np.uint8)
    mask[inside_outlines(points, [epi])] = 2
    mask[inside_outlines(points, [endo])] = 1
    atrium = (points[:, 0] > endo[0, 0]) & (np.abs(points[:, 1] - 50) < 15) & (points[:, 0] < endo[0, 0] + 12)
    mask[atrium] = 3
    return mask.reshape(shape)


@pytest.fixture(scope="module")
def ventricle():
    return tuple(contour + [8.0, 50.0] for contour in left_ventricle(length=80, width=44, thickness=9))


def distances(points, contour):
    dense = at_fractions(contour, np.linspace(0, 1, 5000))
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
    with pytest.raises(InputError, match="a mask \\[H, W\\] is expected"):
        myocardial_contours(mask[None])
    rows, columns = np.mgrid[:80, :80] - 40
    distance = np.hypot(rows, columns)
    around = np.where(distance < 20, 1, np.where(distance < 30, 2, 0))
    with pytest.raises(InputError, match="does not go around the cavity with a base open"):
        myocardial_contours(around)


def test_contours_that_cross_are_refused(ventricle):
    endo, epi = ventricle
    with pytest.raises(InputError, match="p2: the endocardium and the epicardium cross"):
        myocardial_mesh(endo + [0, 12], epi, name="p2")
    with pytest.raises(InputError, match="exchanged"):
        myocardial_mesh(epi, endo)
    with pytest.raises(InputError, match="endocardium must be"):
        myocardial_mesh(endo[:3], epi)
