"""Volumes of a cavity whose size is known in each frame."""

import numpy as np
import pytest

from cardiac_motion.cine.cine_case import CineMeta
from cardiac_motion.strain_pipeline.measures.cavity import measure_cavity
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.ventricle.strain import disc_volume
from cardiac_motion.ventricle.views import APICAL
from tests.strain_pipeline.known import APEX, TIMES, cine, tracked_beat, wedge

ENDO = wedge(30.0)


def beat(scale):
    """An endocardium of these sizes, in frames one after the other."""
    return APEX + np.asarray(scale)[:, None, None] * (ENDO - APEX)


def contraction(count=40, least=0.8):
    return 1 - (1 - least) * np.sin(np.pi * np.arange(count) / (count - 1)) ** 2


@pytest.mark.parametrize("least", [0.95, 0.8, 0.7])
def test_of_a_known_contraction(least):
    found = measure_cavity(beat(contraction(least=least)), (0.5, 0.5))
    assert found.ejection_fraction == pytest.approx(100 * (1 - least**3), abs=1.0)
    assert found.end_diastolic == pytest.approx(disc_volume(ENDO, (0.5, 0.5)), rel=0.01)
    sizes = np.ptp(found.endocardium[..., 0], axis=1)
    assert sizes[1] / sizes[0] == pytest.approx(least, abs=0.01) and found.deviation < 0.5


def test_a_lost_border_in_one_frame_moves_nothing():
    lines = beat(contraction())
    lines[3], lines[20] = beat([1.4])[0], beat([0.3])[0]
    found = measure_cavity(lines, (1.0, 1.0))
    assert found.ejection_fraction == pytest.approx(100 * (1 - 0.8**3), abs=1.0)
    lines[10] = np.nan
    assert measure_cavity(lines, (1.0, 1.0)).ejection_fraction == pytest.approx(100 * (1 - 0.8**3), abs=1.0)


def test_a_ratio_needs_no_spacing_but_the_pixels_aspect():
    lines = beat(contraction())
    one, other = (measure_cavity(lines, steps).ejection_fraction for steps in ((1.0, 1.0), (0.4, 0.4)))
    assert one == pytest.approx(other)


def test_noise_of_the_border_is_told():
    noise = np.random.default_rng(0).normal(0, 0.02, 40)
    found = measure_cavity(beat(contraction() + noise), (1.0, 1.0))
    assert 2 < found.deviation < 12, "three times two percent of the volume, at both ends"


def test_too_few_walls_give_nothing():
    lines = beat(contraction())
    lines[:25] = np.nan
    assert measure_cavity(lines, (1.0, 1.0)) is None
    lines[:] = np.nan
    assert measure_cavity(lines, (1.0, 1.0)) is None


def test_the_ejection_fraction_is_that_of_the_segmented_cavity():
    """The tracked wall may fall short; without a segmentation there is no number that looks right."""
    meta = CineMeta.from_cine(cine(spacing=(0.5, 0.5), times=TIMES))
    tracked = [tracked_beat(share=[1.0, 0.97, 0.93, 0.9, 0.95, 1.0])]
    segmented = beat([1.0, 1.0, 0.8, 0.8, 0.8, 1.0])
    numbers = StrainMeasures()(tracked, meta, APICAL["apical_4ch"], segmented).means
    assert numbers["tracked_ejection_fraction"] == pytest.approx(100 * (1 - 0.9**3))
    assert numbers["ejection_fraction"] == pytest.approx(100 * (1 - 0.8**3), abs=8)
    assert numbers["end_systolic_volume_ml"] < numbers["end_diastolic_volume_ml"]
    none = StrainMeasures()(tracked, meta, APICAL["apical_4ch"]).means
    assert none["ejection_fraction"] is None is none["end_systolic_volume_ml"]
