"""Strain of walls whose every length is known."""

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.views import APICAL


@pytest.mark.parametrize(("drift_correction", "expected"), [(True, -0.15 - 0.3 * 0.06), (False, -0.15)])
def test_drift_of_a_whole_line(drift_correction, expected):
    """A straight line whose length is 1, 0.85 at end-systole (frame 3 of 10) and 1.06 at the end."""
    share = np.interp(np.arange(11), [0, 3, 10], [1.0, 0.85, 1.06])
    line = np.stack([np.linspace(0, 50, 61), np.zeros(61)], -1)
    lines = np.stack([np.stack([s * line] * 3) for s in share])
    beat = TrackedBeat(Beat(0, 3, 10, True), lines, np.ones(61), None, np.zeros(61, bool))
    measures = StrainMeasures(drift_correction=drift_correction)
    numbers = measures.measure(beat, None, None, APICAL["apical_4ch"].segments())["numbers"]
    assert numbers["gls"] == pytest.approx(100 * expected)
    assert numbers["gls_uncompensated"] == pytest.approx(-15) and numbers["drift"] == pytest.approx(6)


def test_the_mid_wall_excludes_the_segments_that_the_user_excludes():
    """One wall shortens by a fifth, the other not at all: without the first, nothing is left to shorten."""
    still, points = np.linspace(0, 60, 61), 121
    left = np.stack([still[::-1], np.zeros(61)], -1)
    lines = []
    for share in (1.0, 0.8, 1.0):
        apex = 30 * np.linspace(0, 1, 61)[1:]
        right = np.stack([apex * share, np.zeros(60)], -1) + [0.0, 0.0]
        line = np.concatenate([left, right])
        lines.append(np.stack([line + [0, k] for k in (0.0, 5.0, 10.0)]))
    beat = TrackedBeat(Beat(0, 1, 2, True), np.stack(lines), np.ones(points), None, np.zeros(points, bool))
    names = APICAL["apical_4ch"].segments()
    gls = [
        StrainMeasures("mid-wall", exclude_segments=off).measure(beat, None, None, names)["numbers"]
        for off in ([], names[4:])
    ]
    assert gls[0]["gls_mid_wall"] == pytest.approx(gls[0]["gls"]) and gls[1]["gls_mid_wall"] == pytest.approx(
        gls[1]["gls"]
    )
    assert gls[1]["gls_mid_wall"] > gls[0]["gls_mid_wall"] + 1
