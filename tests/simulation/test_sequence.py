import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import compose, warp
from cardiac_motion.fields.ncc import lncc2
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.heart.contraction import prescribe_end_systole
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.simulation.heart.scenarios import signed_distance
from cardiac_motion.simulation.heart.template import find_templates, read_template
from cardiac_motion.simulation.sequence import Settings, Simulation, draw, probe_for
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner
from cardiac_motion.simulation.ultrasound.scatterers import Scatterers
from cardiac_motion.ventricle.views import VIEWS

CLEAN = Settings(artefact=0.0, probes=("reference",), scatterers=120_000)
SMALL = replace(CLEAN, scatterers=20_000, shape=(64, 64))


@pytest.fixture(scope="module")
def heart():
    return view("apical_4ch", 0)


@pytest.fixture(scope="module")
def clean(heart):
    """A beat with nothing that decorrelates or disturbs, 0.4 mm a pixel."""
    simulation, _ = draw(heart, 3, replace(CLEAN, shape=(512, 512)))
    simulation.physical = False
    return simulation


def similarity(simulation, fixed, moving, radius=10):
    """LNCC² in the myocardium of the warped moving frame, and of the frame as it is."""
    pair = simulation.pair(fixed, moving)
    wall = simulation.motion.fields(simulation.grid, simulation.times[fixed], [0.0])[2]
    mask = (pair["mask"][0] > 0) & wall
    image = pair["image"][:, None, None]
    warped = warp(image[0], pair["ddf"][None])
    return [float(lncc2(image[1], moved, radius, mask[None, None])) for moved in (warped, image[0])]


@pytest.mark.parametrize("fixed", [4, 7, 10, 14, 19, 23, 30, 36])
def test_warping_a_frame_by_the_field_gives_the_next_one(clean, fixed):
    warped, unwarped = similarity(clean, fixed, fixed - 1)
    assert warped > 0.95
    assert warped > unwarped


def test_the_field_holds_backwards_in_time_and_over_several_frames(clean):
    for fixed, moving in ((8, 9), (8, 12), (12, 8)):
        warped, unwarped = similarity(clean, fixed, moving)
        assert warped > 0.9 and warped > unwarped + 0.1


def test_deformation_decorrelates_speckle_as_in_nature(heart):
    simulation, _ = draw(heart, 3, CLEAN)
    carried, physical = [], []
    for kind, found in ((False, carried), (True, physical)):
        simulation.physical = kind
        found += [similarity(simulation, 9, 9 - gap, 4)[0] for gap in (1, 4, 8)]
    assert physical[0] > physical[1] > physical[2]
    assert all(p < c - 0.02 for p, c in zip(physical, carried, strict=True))


def test_composed_fields_of_a_beat_return_home(heart):
    simulation, _ = draw(heart, 3, replace(SMALL, shape=(256, 256)), frames=31)
    total = torch.zeros(1, 2, 256, 256)
    for before, after in pairwise(range(31)):
        field, _ = simulation.fields(after, [before])
        total = compose(total, field)
    wall = simulation.motion.fields(simulation.grid, 0.0, [0.0])[2]
    left = total[0][:, wall].norm(dim=0)
    assert float(left.mean()) < 0.1 and float(left.median()) < 0.05


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_every_view_makes_a_cine_that_moves(name):
    for seed in (0, 1):
        template = view(name, seed)
        assert template.view == name
        simulation, drawn = draw(template, seed, SMALL)
        assert simulation.view == name
        frames = simulation.frames([0, 13])
        assert torch.isfinite(frames).all() and frames.std() > 0.05
        assert (frames[0] - frames[1]).abs().max() > 0.1
        assert -0.28 <= drawn["gls"] <= -0.05
        strain = simulation.strains()
        assert strain["global"][0] == 0 and abs(strain["global"][-1]) < 1e-9


def test_views_differ_and_unknown_ones_are_refused():
    pictures = [draw(view(name, 0), 0, SMALL)[0].frames([0])[0] for name in VIEWS]
    for i, a in enumerate(pictures):
        assert all((a - b).abs().mean() > 0.02 for b in pictures[:i])
    with pytest.raises(InputError, match="apical_5ch"):
        view("apical_5ch")


def test_the_same_seed_gives_the_same_cine(heart):
    (first, drawn), (second, again), (third, _) = (draw(heart, s, replace(SMALL, artefact=1.0)) for s in (5, 5, 6))
    assert drawn == again
    assert torch.equal(first.frames([0, 7]), second.frames([0, 7]))
    assert not torch.equal(first.frames([7]), third.frames([7]))


def test_frames_asked_for_alone_are_those_of_the_whole(heart):
    simulation, _ = draw(heart, 2, replace(SMALL, artefact=1.0), frames=9)
    whole = torch.cat(list(simulation.chunks(4)))
    assert whole.shape == (9, 64, 64)
    torch.testing.assert_close(simulation.frames([6])[0], whole[6], atol=1e-5, rtol=0)


def test_one_beat_ends_where_it_began(heart):
    simulation, _ = draw(heart, 2, SMALL, frames=20)
    first, last = simulation.frames([0, 19])
    torch.testing.assert_close(first, last, atol=1e-4, rtol=0)
    field, _ = simulation.fields(19, [0])
    assert field.abs().max() < 1e-4


@pytest.fixture(scope="module")
def still(heart):
    """A wall that moves in uniform tissue that does not."""
    flat = replace(heart, brightness=np.full_like(heart.brightness, 0.1), static=True)
    end = prescribe_end_systole(flat.mesh, None, -0.2)
    side = flat.depth
    motion = Motion(flat.mesh, end, 60.0, ((-15.0, -side), (flat.depth + 15, side)))
    probe = probe_for(flat, PROBES["reference"])
    return Simulation(motion, Scatterers(flat, motion, 150_000), Scanner(probe), np.linspace(0, 1, 21))


def test_no_seam_shows_at_the_border_of_a_moving_wall_in_still_tissue(still):
    depth, lateral = still.scanner.ranges[:, None], still.scanner.sines
    places = torch.stack([depth * torch.sqrt(1 - lateral**2), depth * lateral], dim=-1).reshape(-1, 2)
    for frame in (0, 6):
        power = still.echoes([frame])[0].abs().square().reshape(-1)
        outlines = [still.motion.wall(still.times[[frame]])[:, o] for o in still.motion.mesh.outlines()]
        distance = signed_distance(places.float(), outlines)[0]
        seen = (places[:, 0] > 20) & (
            still.scanner.ranges.repeat_interleave(len(lateral)) < still.scanner.probe.depth - 5
        )
        seen &= lateral.abs().repeat(len(depth)) < np.sin(still.scanner.probe.half_angle) - 0.05
        border, beyond = (power[seen & part].mean() for part in (distance.abs() < 1.5, distance > 4))
        assert float(10 * torch.log10(border / beyond)) == pytest.approx(0, abs=0.5)


def test_still_tissue_does_not_flicker_and_its_field_is_masked(still):
    frames = still.frames([0, 3, 6])
    moved = still.motion.wall(still.times[[0, 3, 6]])
    points = still.grid.points().float()
    away = torch.ones(len(points), dtype=torch.bool)
    for wall in moved:
        away &= signed_distance(points, [wall[None, o] for o in still.motion.mesh.outlines()])[0] > 9
    away = away.reshape(frames.shape[1:]) & still.scanner.sector
    assert away.sum() > 3000
    assert (frames - frames[0])[:, away].abs().max() < 0.02
    _, mask = still.fields(6, [3])
    labels = still.labels(6)
    assert (labels[mask[0].cpu()] == 2).float().mean() > 0.98


def test_labels_and_contours_follow_the_wall(still):
    for frame in (0, 6):
        labels = still.labels(frame)
        endo, epi = (still.contours()[k][frame] for k in ("endocardium", "epicardium"))
        inside = labels[tuple(np.round(0.5 * (endo + epi)).astype(int).T)]
        assert (inside == 2).float().mean() > 0.95
        assert labels[tuple(np.round(endo.mean(0)).astype(int))] == 1
    cavity = [(still.labels(frame) == 1).sum() for frame in (0, 6)]
    assert cavity[1] < 0.8 * cavity[0]


def test_what_cannot_be_drawn_is_refused(heart):
    with pytest.raises(InputError, match="frames 1"):
        draw(heart, 0, SMALL, frames=1)
    with pytest.raises(InputError, match="nokia"):
        draw(heart, 0, replace(SMALL, probes=("nokia",)))
    with pytest.raises(InputError, match="no motion without folding"):
        draw(heart, 0, replace(SMALL, gls=(-0.9, -0.8)))
    with pytest.raises(InputError, match="count 0"):
        draw(heart, 0, replace(SMALL, scatterers=0))


@pytest.mark.skipif("DATA_DIR" not in os.environ, reason="needs CAMUS templates in the folder that DATA_DIR names")
def test_recorded_templates_are_simulated_as_they_look():
    for _, frame, mask, late in find_templates(Path(os.environ["DATA_DIR"]) / "CAMUS_616um")[:3]:
        template = read_template(frame, mask, late)
        simulation, _ = draw(template, 1, replace(CLEAN, scatterers=60_000, shape=(128, 128)))
        picture = simulation.frames([0])[0]
        wanted = torch.as_tensor(template.brightness) ** 0.3
        there = template.grid.to_pixels(simulation.grid.points().float()).round().long()
        there = torch.minimum(there.clamp_min(0), torch.tensor(wanted.shape) - 1)
        wanted = wanted[there[:, 0], there[:, 1]].reshape(128, 128)
        blur = torch.nn.AvgPool2d(5, 1, 2)
        a, b = (blur(x[None])[0][simulation.scanner.sector] for x in (picture, wanted))
        assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.85


def test_a_grid_too_coarse_is_still_the_same_sector(heart):
    grid = ImageGrid.from_sector(heart.depth, np.radians(heart.width) / 2, (48, 96))
    corner = grid.points().reshape(48, 96, 2)[0]
    assert abs(float(corner[:, 1].mean())) < 1e-9
    assert float(grid.points()[:, 0].max()) >= heart.depth - grid.spacing[0]
