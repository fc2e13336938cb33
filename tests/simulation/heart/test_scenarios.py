"""Scenarios around a wall: fields against where the scatterers went, and what each scenario promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.heart.scenarios import ANATOMICAL, Scenario, signed_distance
from cardiac_motion.simulation.sequence import Settings, draw

SMALL = Settings(artefact=0.0, probes=("reference",), scatterers=20_000, shape=(96, 96))


@pytest.fixture(scope="module")
def heart():
    return view("apical_4ch", 0)


def simulated(heart, name, seed=3, **changes):
    return draw(heart, seed, replace(SMALL, scenarios={name: 1.0}, **changes))


@pytest.mark.parametrize("name", ANATOMICAL)
def test_fields_are_where_the_scatterers_went(heart, name):
    """The field at each place of the fixed frame against the two places of the scatterers of its kind."""
    simulation, drawn = simulated(heart, name)
    assert drawn["scenario"] == name
    scenario, times = simulation.scatterers.scenario, simulation.times
    assert (scenario.picture_motion is not None) == (name == "respiratory")
    fixed, moving = 9, 4
    places, weight = simulation.scatterers.frames(times[[fixed, moving]])
    hangers = len(scenario.leaflets) * len(simulation.scatterers._along)
    places, weight = (x[:, : x.shape[1] - hangers] for x in (places, weight))
    found = scenario.displacement(places[0].double(), float(times[fixed]), [float(times[moving])])
    kind = torch.arange(places.shape[1]) < len(simulation.scatterers._triangle)
    true = places[1] - places[0]
    for key, own in (("region", kind), ("ground", ~kind)):
        there = found[key] & own
        if key == "ground" and not simulation.scatterers.static:
            assert not found[key].any()
            continue
        assert int(there.sum()) > 500
        error = (found["moved"][0][there] - true[there]).norm(dim=1)
        assert float(error.max()) < 2e-3, name
    assert float(true.norm(dim=1).max()) > 1.0


def test_the_same_patient_in_every_scenario(heart):
    drawn = [simulated(heart, name)[1] for name in ANATOMICAL]
    for key in ("gls", "heart_rate", "shift_mm", "probe", "artefacts"):
        assert all(d[key] == drawn[0][key] for d in drawn)
    (a, _), (b, _) = simulated(heart, "coupled"), draw(heart, 3, replace(SMALL, coupled=True))
    assert torch.equal(a.frames([5]), b.frames([5]))


def test_sliding_moves_the_cavity_and_hardly_the_pericardium(heart):
    simulation, _ = simulated(heart, "sliding")
    found = simulation.fields_and_ground(14, [0])
    length = found["ddf"][0].norm(dim=0) * simulation.grid.spacing[0]
    assert length[found["mask"][0]].max() > 3.0
    assert length[found["ground"][0]].max() < 2.0
    labels = simulation.labels(14)
    assert found["mask"][0][labels == 1].float().mean() > 0.9, "the cavity moves with the wall"
    assert not (found["mask"] & found["ground"]).any()


def test_chambers_leave_the_wall_alone_and_move_the_rest(heart):
    (own, _), (plain, _) = simulated(heart, "chambers"), simulated(heart, "coupled")
    points = own.grid.points()
    at, to = float(own.times[14]), [float(own.times[0])]
    there, usual = (s.scatterers.scenario.displacement(points, at, to) for s in (own, plain))
    change = (there["moved"] - usual["moved"])[0].norm(dim=1)
    assert change[there["wall"]].max() < 0.6 and change[there["inside"]].max() > 0.8
    assert not there["region"].all() and usual["region"][usual["inside"]].all(), "leaflets are not claimed"


def test_chambers_own_motion_is_undone(heart):
    simulation, _ = simulated(heart, "chambers")
    scenario, time = simulation.scatterers.scenario, float(simulation.times[13])
    points = simulation.grid.points()
    triangle, barycentric, inside, own = scenario.locate(points, time)
    back = scenario.heart(triangle, barycentric, own, np.array([time]))[0]
    plain = simulation.motion.locate(points, time)[2]
    assert (inside != plain).float().mean() < 0.01
    assert (back - points)[inside].norm(dim=1).max() < 1e-3


def test_breathing_carries_labels_and_contours_along(heart):
    simulation, _ = simulated(heart, "respiratory")
    scenario, frame = simulation.scatterers.scenario, 12
    inner = simulation.contours()["endocardium"][frame]
    mm = torch.as_tensor(inner * simulation.grid.spacing[0]) + torch.tensor(simulation.grid.origin)
    home = scenario.undo_picture_motion(mm, float(simulation.times[frame])).numpy()
    np.testing.assert_allclose(home, simulation.motion.contours(simulation.times)[0][frame], atol=1e-4)
    middle = inner.mean(0).round().astype(int)
    assert simulation.labels(frame)[tuple(middle)] == 1


@pytest.mark.parametrize("weights", [{"flat": 1.0}, {}, {"static": -1.0}, {"static": 0.0}])
def test_unknown_scenarios_are_refused(heart, weights):
    with pytest.raises(InputError, match="scenarios"):
        draw(heart, 0, replace(SMALL, scenarios=weights))


def test_an_unknown_region_is_refused(heart):
    simulation, _ = simulated(heart, "coupled")
    with pytest.raises(InputError, match="region"):
        Scenario(simulation.motion, "atrium")


def test_signed_distance_of_a_square():
    square = np.array([[[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]]])
    points = torch.tensor([[5.0, 5.0], [5.0, 12.0], [-3.0, -4.0]])
    torch.testing.assert_close(signed_distance(points, [square])[0], torch.tensor([-5.0, 2.0, 5.0]))
