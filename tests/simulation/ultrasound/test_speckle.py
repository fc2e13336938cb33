"""Scenarios without anatomy: inverses, areas, fields against scatterers, and what turning does to speckle."""

import math

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.ncc import lncc2
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner
from cardiac_motion.simulation.ultrasound.speckle import SHAPES, BodyMotion, Speckle, TexturedBody, draw_speckle

FLOWS = {
    "turn": BodyMotion((50.0, 0.0), turn=0.2),
    "shift": BodyMotion((50.0, 0.0), velocity=(1.0, -2.0)),
    "stretch": BodyMotion((50.0, 0.0), stretch=(0.1, -0.1)),
    "shear": BodyMotion((50.0, 0.0), shear=0.15),
    "twist": BodyMotion((50.0, 0.0), twist=0.01),
    "radial": BodyMotion((50.0, 0.0), radial=-120.0),
    "all": BodyMotion((50.0, 0.0), (1.0, 2.0), 0.1, (0.05, -0.02), 0.03, 0.005, 60.0),
}


@pytest.fixture(scope="module")
def scanner():
    probe = PROBES["reference"].replace(depth=100.0, gain=-12.0)
    return Scanner(probe, ImageGrid.from_sector(100.0, probe.half_angle, (192, 192)))


@pytest.mark.parametrize("name", FLOWS)
def test_flows_are_undone(name):
    flow = FLOWS[name]
    angle = 2 * math.pi * torch.rand(200, dtype=torch.float64)
    radius = 14 + 20 * torch.rand(200, dtype=torch.float64)
    points = torch.stack([50 + radius * angle.cos(), radius * angle.sin()], 1)
    torch.testing.assert_close(flow.inverse(flow.forward(points, 0.8), 0.8), points, atol=1e-9, rtol=0)
    torch.testing.assert_close(flow.forward(points, 0.0), points)
    assert (flow.forward(points, 0.8) - points).norm(dim=1).max() > 0.5


@pytest.mark.parametrize(
    ("name", "area"), [("turn", 1.0), ("twist", 1.0), ("radial", 1.0), ("stretch", 1.0), ("shear", 1.0)]
)
def test_what_they_do_to_areas(name, area):
    """The determinant of the map, by automatic differentiation; a stretch by e^0.1 and e^-0.1 keeps areas as well."""
    point = torch.tensor([62.0, 17.0], dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(lambda p: FLOWS[name].forward(p, 1.0), point)
    assert float(torch.linalg.det(matrix)) == pytest.approx(area, abs=1e-9)


def test_a_turn_keeps_distances_and_its_angle():
    points = torch.tensor([[60.0, 0.0], [50.0, 10.0]], dtype=torch.float64)
    moved = FLOWS["turn"].forward(points, 1.0) - torch.tensor([50.0, 0.0])
    torch.testing.assert_close(moved[0], 10 * torch.tensor([math.cos(0.2), math.sin(0.2)], dtype=torch.float64))


@pytest.mark.parametrize("ground", [None, BodyMotion(), BodyMotion(velocity=(0.4, 0.3))])
def test_fields_are_where_the_scatterers_went(scanner, ground):
    scenario = Speckle(
        TexturedBody("ring", (55.0, 3.0), 25.0, 12.0), FLOWS["all"], ground, np.arange(4) * 0.3, scanner, count=20_000
    )
    (ddf,), (mask,) = scenario.fields(2, [0])
    points = scenario.grid.points()
    for flow, body in ((scenario.flow, True), (ground, False)):
        if flow is None:
            continue
        material = flow.inverse(points, 0.6)
        own = mask.flatten() & (scenario.body.holds(scenario.flow.inverse(points, 0.6)) == body)
        true = (flow.forward(material, 0.0) - points)[own] / scenario.grid.spacing[0]
        torch.testing.assert_close(ddf.reshape(2, -1).T[own].double(), true, atol=1e-4, rtol=0)
    assert mask.any() and (ground is not None or bool((~mask & scanner.sector).any()))


def turning_disc(scanner, turn, frames):
    """A disc of speckle in the dark that turns by ``turn`` a frame."""
    body, motion = TexturedBody("disc", (55.0, 0.0), 30.0), BodyMotion((55.0, 0.0), turn=turn)
    return Speckle(body, motion, None, np.arange(frames), scanner, count=60_000)


def test_the_pictures_move_as_the_field_says(scanner):
    scenario = turning_disc(scanner, 0.01, 5)
    pair = scenario.pair(2, 0)
    inner = pair["mask"][None] > 0
    moved = warp(pair["image"][None, :1], pair["ddf"][None])
    fixed = pair["image"][None, 1:]
    before, after = float(lncc2(fixed, pair["image"][None, :1], 6, inner)), float(lncc2(fixed, moved, 6, inner))
    assert after > 0.8 and after > before + 0.02


def test_speckle_decorrelates_as_it_turns(scanner):
    scenario = turning_disc(scanner, 0.05, 9)
    likeness = []
    for moving in (1, 3, 7):
        pair = scenario.pair(0, moving)
        moved = warp(pair["image"][None, :1], pair["ddf"][None])
        likeness.append(float(lncc2(pair["image"][None, 1:], moved, 6, pair["mask"][None] > 0)))
    assert likeness[0] > likeness[1] + 0.02 > likeness[2] + 0.04


def test_drawn_scenarios_are_seeded_and_of_every_kind():
    seen = set()
    for seed in range(12):
        scenario, drawn = draw_speckle(seed, shape=(64, 64), count=2000)
        seen.add(drawn["shape"])
        pair = scenario.pair(1, 0)
        assert all(torch.isfinite(value).all() for value in pair.values())
        assert pair["mask"].any() and 0 <= pair["image"].min() and pair["image"].max() <= 1
    assert seen == set(SHAPES)
    first, again = (draw_speckle(3, shape=(64, 64), count=2000)[0].frames([2]) for _ in range(2))
    assert torch.equal(first, again)


def test_an_unknown_shape_is_refused():
    with pytest.raises(InputError, match="square"):
        TexturedBody("square", (0.0, 0.0), 1.0)
