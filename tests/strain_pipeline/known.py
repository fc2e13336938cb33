"""A wall of straight lines that shrinks towards its apex: lengths, areas and strains follow from a drawing."""

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.quality.view import CineView
from cardiac_motion.strain_pipeline.strain_case import StrainCase
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.views import APICAL

HEIGHT, WIDTH, POINTS = 120, 130, 121
APEX = np.array([20.0, 65.0])  # (row, column)
SHARE = np.array([1.0, 0.95, 0.85, 0.8, 0.9, 1.0])  # of all lengths at end-diastole; end-systole at frame 3
TIMES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
BEAT = Beat(0, 3, 5, True)


def wedge(half_width, above=0.0, height=80.0):
    """A line ``[POINTS, 2]`` from base over apex to base; ``above`` pixels higher at the apex."""
    base, apex = APEX + np.array([[height, -half_width], [height, half_width]]), APEX - [above, 0.0]
    share = np.linspace(0, 1, POINTS // 2 + 1)[:, None]
    left, right = base[0] + share * (apex - base[0]), apex + share * (base[1] - apex)
    return np.concatenate([left, right[1:]])


WALL = np.stack([wedge(30.0), wedge(33.0, 4.0), wedge(36.0, 8.0)])  # endocardium, mid-wall, epicardium


def tracked_beat(beat=BEAT, share=SHARE, **more):
    """The wall in a beat."""
    lines = APEX + np.asarray(share)[:, None, None, None] * (WALL - APEX)
    settings = {
        "lncc2": np.full(POINTS, 0.8), "fb_error": None, "outside": np.zeros(POINTS, bool), **more,
    }  # fmt: skip
    return TrackedBeat(beat, lines, **settings)


def cine(frames=6, spacing=(0.5, 0.5), times=TIMES, level=0.5, **more):
    """A lit disc in the dark."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    lit = (rows - 60) ** 2 + (columns - 65) ** 2 <= 55**2
    meta = {"spacing": spacing, "frame_times": times, "frame_time_source": "acquired", **more}
    picture = torch.from_numpy(np.where(lit, level, 0.0)).float()
    return MetaTensor(picture.expand(1, frames, -1, -1).clone(), meta=meta)


def strain_case(tracked=None, entry=None, found=None, measures=None, folder=Path("known"), **more):
    """A measured cine; what is in ``more`` takes the place of an attribute."""
    loop = cine() if found is None else found
    frames = loop.as_tensor()[0]
    case = CineCase(
        entry or CineEntry("known", "a/known.nii.gz"), torch.stack([frames[:-1], frames[1:]], 1), None, loop
    )
    tracked = (tracked_beat(),) if tracked is None else tracked
    view = CineView(
        APICAL["apical_4ch"], ViewProbabilities({"apical_4ch": 0.9, "other": 0.08, "apical_2ch": 0.02}, 6.0), False
    )
    areas = 2400.0 * SHARE**2
    wall = Wall(
        torch.zeros(len(frames), HEIGHT, WIDTH),
        areas,
        APEX + SHARE[:, None, None, None] * (WALL - APEX),
        (BEAT,),
        ("said",),
    )
    measured = (measures or StrainMeasures())(tracked, case.meta, view.view, wall.lines[:, 0])
    settings = {"seconds": {"view": 1.0, "motion": 2.5}, **more}
    return StrainCase(
        case, RegistrationResult(torch.zeros(len(frames) - 1, 2, HEIGHT, WIDTH)), measured.scores, folder,
        view, wall, tuple(tracked), measured, **settings,
    )  # fmt: skip
