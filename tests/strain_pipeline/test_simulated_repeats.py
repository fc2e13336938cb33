"""Simulated repeats of a simulated patient, measured by a tracker that is known to fall short."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.read import frame_pairs
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.comparators.farneback import Farneback
from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.pairwise import PairwiseInferer
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, draw
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.simulated_repeats import (
    SimulatedRepeats,
    median_correlation,
    repeat_times,
    surroundings,
    template_of,
)
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, track_wall, widen_sector
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.contours import wall_lines

SHARE = 0.75  # of the motion that the tracker finds
MEASURES = StrainMeasures(min_lncc2=0.0, max_fb_error=1.0, max_outside=1.0)


def track(case, wall, seen):
    result = PairwiseInferer(composition=True, progress=False)(case.image, Farneback())
    return track_wall(case, wall, replace(result, ddf=SHARE * result.ddf), Fusion(wall_motion="midwall"), seen)


@pytest.fixture(scope="module")
def patient():
    """A parametric heart of −19 %, all around it moving: its cine, its wall as it is measured, the truth."""
    settings = Settings(
        probes=("reference",), gls=(-0.19, -0.19), heart_rate=(60.0, 60.0), rotation=0.0, shift=0.0, defect=0.0,
        artefact=0.0, scatterers=25_000, shape=(144, 144), coupled=True,
    )  # fmt: skip
    simulation, _ = draw(view("apical_4ch", [3]), 3, settings, 20)
    frames = torch.cat(list(simulation.chunks()))
    meta = {
        "spacing": simulation.grid.spacing,
        "frame_times": simulation.times.tolist(),
        "frame_time_source": "acquired",
    }
    cine = MetaTensor(frames[None], meta=meta)
    case = CineCase(CineEntry("p", "p.nii.gz"), frame_pairs(cine), sector_mask(cine)[None, None], cine)
    lines = simulation.contours()
    es = int(np.argmin(np.abs(simulation.times - simulation.motion.end_systole_time)))
    walls = np.full((20, 3, 120, 2), np.nan)
    walls[0] = wall_lines(lines["endocardium"][0], lines["epicardium"][0], 120)
    labels = torch.zeros(20, 144, 144, dtype=torch.uint8)
    wall = Wall(labels, np.ones(20), walls, (Beat(0, es, 19, True),), (), (0,))
    tracked = track(case, wall, widen_sector(cine))
    found = MEASURES.gls(tracked[0], case.meta.steps)
    measured = SimpleNamespace(beats=[{"numbers": {"gls": found}}], layer="endocardium")
    return SimpleNamespace(case=case, tracked=tracked, measured=measured), 100 * simulation.strains()["gls"], found


def test_a_template_has_the_patients_wall_and_sector(patient):
    study, _, _ = patient
    template, steps = template_of(study.case, study.tracked[0])
    assert steps == study.case.meta.spacing and template.depth == pytest.approx(160, rel=0.1)
    inner = study.tracked[0].lines[0, 0] * steps
    length = np.linalg.norm(np.diff(inner, axis=0), axis=1).sum()
    assert np.linalg.norm(np.diff(template.mesh.inner, axis=0), axis=1).sum() == pytest.approx(length, rel=0.02)
    blind = replace(
        study.case, cine=MetaTensor(study.case.cine.as_tensor(), meta={**study.case.cine.meta, "spacing": None})
    )
    other, size = template_of(blind, study.tracked[0])
    base, apex = other.mesh.inner[[0, -1]].mean(0), other.mesh.inner
    assert np.linalg.norm(apex - base, axis=1).max() == pytest.approx(85, rel=0.03) and size[0] == size[1]


def test_the_corrected_number_is_nearer_to_the_truth(patient, bar_names):
    study, true, found = patient
    assert found > true + 3, "the tracker falls short"
    result = SimulatedRepeats(1, scatterers=25_000)(study, track, MEASURES.gls)
    assert [name for name in bar_names if name.startswith("repeat")] == ["repeat 0", "repeat 1"]
    assert result.surroundings != "static" and len(result.repeats) == 1
    assert result.bias > 0 and abs(result.corrected - true) < 0.6 * abs(found - true)


def test_what_stands_still_around_the_wall_is_seen(patient):
    study, _, _ = patient
    beat = study.tracked[0]
    frames = study.case.cine.as_tensor()[0]
    noise = 0.02 * torch.rand(frames.shape, generator=torch.Generator().manual_seed(0))
    still = frames[:1].expand_as(frames).clone() + noise
    assert surroundings(replace(study.case, cine=MetaTensor(still[None], meta=study.case.cine.meta)), beat) == "static"
    assert median_correlation(frames[0], frames[0], beat.lines[0, 2], 4) == pytest.approx(1)
    assert median_correlation(frames[0], frames[0], np.array([[-5.0, 3.0]]), 4) == 0


def test_times_keep_end_systole_and_the_frames_of_a_beat_that_is_cut_off():
    times, rate = repeat_times(Beat(0, 8, 12, False), None)
    assert rate == 65 and len(times) == 13 and (np.diff(times) > 0).all() and times[-1] < 60 / rate
    assert np.diff(times[:9]) == pytest.approx(np.diff(times[8:])[0])


def test_what_has_no_repeat(patient):
    study, _, _ = patient
    with pytest.raises(InputError, match="at least one repeat"):
        SimulatedRepeats(0)
    without = SimpleNamespace(**{**vars(study), "measured": SimpleNamespace(beats=[{"numbers": {"gls": None}}])})
    with pytest.raises(InputError, match="no repeat of a beat without GLS"):
        SimulatedRepeats(1)(without, track, MEASURES.gls)
