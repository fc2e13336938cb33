from itertools import pairwise

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import compose
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.anatomy import left_ventricle
from cardiac_motion.simulation.heart.contraction import Defect, contour_length, contract, prescribe_end_systole
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.ventricle.mesh import myocardial_mesh

BOUNDS = ((-10.0, -90.0), (150.0, 90.0))
GRID = ImageGrid((96, 80), (1.2, 1.0), (5.0, -40.0))


@pytest.fixture(scope="module")
def mesh():
    return myocardial_mesh(*(contour + [15.0, 0.0] for contour in left_ventricle()))


def moving(mesh, gls=-0.2, defects=(), **more):
    return Motion(mesh, prescribe_end_systole(mesh, None, gls, defects), 65.0, BOUNDS, **more)


@pytest.fixture(scope="module")
def motion(mesh):
    return moving(mesh, rotation=6.0, shift=(1.5, -2.0))


@pytest.mark.parametrize("gls", [-0.05, -0.12, -0.20, -0.28])
@pytest.mark.parametrize("defects", [(), (Defect(0.25, severity=1.2),)])
def test_strain_of_the_tracked_endocardium_is_the_prescribed_one(mesh, gls, defects):
    motion = moving(mesh, gls, defects, rotation=8.0, shift=(2.0, 2.0))
    times = np.linspace(0, motion.period, 41)
    triangle, barycentric, inside = motion.locate(torch.as_tensor(mesh.inner), 0.0)
    assert inside.all()
    tracked = contour_length(motion.positions(triangle, barycentric, times).numpy())
    strain = tracked / tracked[0] - 1
    np.testing.assert_allclose(strain, motion.strain(times), atol=1e-6)
    at_end_systole = contour_length(motion.contours(np.array([0.0, motion.end_systole_time]))[0])
    assert at_end_systole[1] / at_end_systole[0] - 1 == pytest.approx(gls, abs=1e-6)


def test_a_template_end_systole_is_scaled_to_the_prescribed_strain(mesh):
    template = contract(mesh, inner=0.6, outer=0.9, along=0.9)
    end = prescribe_end_systole(mesh, template, -0.17)
    assert contour_length(end[::5]) / contour_length(mesh.inner) - 1 == pytest.approx(-0.17, abs=1e-9)


def test_a_regional_defect_takes_its_stretch_out_of_the_contraction(mesh):
    def segment_strain(severity):
        motion = moving(mesh, -0.18, [Defect(0.75, 1 / 6, severity)] if severity else [])
        inner = motion.contours(np.array([0.0, motion.end_systole_time]))[0]
        edges = np.linalg.norm(np.diff(inner, axis=1), axis=-1)
        place = np.cumsum(edges[0]) / edges[0].sum()
        near, far = np.abs(place - 0.75) < 0.05, place < 0.4
        return tuple(edges[1, part].sum() / edges[0, part].sum() - 1 for part in (near, far))

    healthy, hypokinetic, dyskinetic = (segment_strain(s) for s in (0, 0.5, 1.8))
    assert healthy[0] < -0.1
    assert healthy[0] < hypokinetic[0] < 0
    assert dyskinetic[0] > 0
    assert dyskinetic[1] < healthy[1]


def test_a_shift_and_nothing_else_is_a_constant_field_in_the_wall(mesh):
    motion = Motion(mesh, mesh.nodes, 65.0, BOUNDS, shift=(3.0, -2.0))
    (field,), _, wall = motion.fields(GRID, 0.0, [motion.end_systole_time])
    assert wall.sum() > 500
    np.testing.assert_allclose(field[0][wall], 3.0 / 1.2, atol=1e-5)
    np.testing.assert_allclose(field[1][wall], -2.0 / 1.0, atol=1e-5)


def test_a_rotation_keeps_lengths_in_the_wall(mesh):
    motion = Motion(mesh, mesh.nodes, 65.0, BOUNDS, rotation=7.0)
    before, after = motion.wall(np.array([0.0, motion.end_systole_time]))
    gaps = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (before, after)]
    np.testing.assert_allclose(*gaps, atol=1e-9)
    a, b = before[0] - before[100], after[0] - after[100]
    turned = np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
    assert turned == pytest.approx(7.0, abs=1e-6)


def test_forward_and_backward_cancel_everywhere(motion):
    points = GRID.points()
    there, inside, _ = motion.displacement(points, 0.05, [0.21])
    assert inside.all()
    back, _, _ = motion.displacement(points + there[0], 0.21, [0.05])
    assert (there + back).abs().max() < 1e-9
    assert there.abs().max() > 3


def test_composition_over_a_beat_returns_home(motion):
    times = np.linspace(0, motion.period, 31)
    place = GRID.points()
    for at, to in pairwise(times):
        place = place + motion.displacement(place, float(at), [float(to)])[0][0]
    assert (place - GRID.points()).abs().max() < 1e-8


def test_sampled_fields_composed_over_a_beat_return_home_too(motion):
    times = np.linspace(0, motion.period, 31)
    total = torch.zeros(1, 2, *GRID.shape)
    for before, after in pairwise(times):
        field, _, _ = motion.fields(GRID, float(after), [float(before)])
        total = compose(total, field)
    wall = motion.fields(GRID, 0.0, [0.0])[2]
    assert total[0][:, wall].norm(dim=0).mean() < 0.1


def test_the_field_is_continuous_across_the_border_of_the_wall(motion):
    wall = motion.wall(np.array([0.12]))[0]
    for outline in motion.mesh.outlines():
        a, b = wall[outline], np.roll(wall[outline], -1, axis=0)
        middle = 0.37 * a + 0.63 * b
        normal = np.stack([(b - a)[:, 1], -(b - a)[:, 0]], axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        sides = [motion.displacement(torch.as_tensor(middle + s * 1e-6 * normal), 0.12, [0.3]) for s in (-1, 1)]
        assert (sides[0][2] != sides[1][2]).all()
        assert (sides[0][0] - sides[1][0]).abs().max() < 1e-5


def test_the_motion_fades_to_nothing_at_the_frame(motion):
    edge = torch.tensor([[-10.0, 0.0], [150.0, 10.0], [40.0, -90.0], [40.0, 90.0]], dtype=torch.float64)
    moved, inside, _ = motion.displacement(edge * 0.9999, 0.0, [motion.end_systole_time])
    assert inside.all() and moved.abs().max() < 1e-2


def test_points_beyond_the_frame_are_not_valid(motion):
    moved, inside, wall = motion.displacement(torch.tensor([[400.0, 0.0], [40.0, -91.0]]), 0.0, [0.1])
    assert not inside.any() and not wall.any() and (moved == 0).all()


def test_the_mesh_is_located_where_it_is(motion):
    time = 0.2
    nodes = motion.nodes(np.array([time]))[0]
    centres = nodes[motion.triangles].mean(1)
    triangle, barycentric, inside = motion.locate(centres, time)
    assert inside.all()
    assert (triangle == torch.arange(len(centres))).all()
    np.testing.assert_allclose(barycentric, 1 / 3, atol=1e-9)


def test_what_cannot_be_is_refused(mesh):
    folded = mesh.nodes.copy()
    folded[50] = folded[54] + 3 * (folded[54] - folded[50])
    with pytest.raises(InputError, match="p7: the motion folds the wall"):
        Motion(mesh, folded, 65.0, BOUNDS, name="p7")
    with pytest.raises(InputError, match="the wall extends beyond the bounds"):
        Motion(mesh, mesh.nodes, 65.0, ((20.0, -50.0), (150.0, 50.0)))


def test_only_what_is_asked_for_is_pixels():
    with pytest.raises(InputError, match="image grid"):
        ImageGrid((64, 64), (0.0, 1.0), (0.0, 0.0))
