"""Volumes and ejection fraction of the cavity that is segmented in each frame.

A tracked endocardium follows the tissue at the cavity's border; trabeculae, and motion that falls short, keep it from
moving inward as far as the cavity empties, so its ejection fraction is too small. The segmented endocardium is drawn
anew in each frame. Its volume (method of discs, Lang et al. 2015, 10.1093/ehjci/jev014) is the median over five frames,
fewer where a beat has fewer than 25, and end-diastole and end-systole are the 97th and the 3rd percentile over the
frames of a beat: one frame whose border is lost moves neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.ventricle.strain import disc_volume, ejection_fraction

Array = NDArray[np.float64]

FRAMES, SHARE = 5, 5  # of the median over time, at most; a beat has at least so many times as many
LARGEST, SMALLEST = 97.0, 3.0  # percentiles over the frames
LEAST_KNOWN = 0.5  # of the frames that must have a wall
_NORMAL = 1.4826  # standard deviations of a normal distribution for its median absolute deviation


@dataclass(frozen=True, eq=False)
class CavityChange:
    """How a segmented cavity changes over a beat.

    Attributes:
        end_diastolic, end_systolic: volumes, ml where pixels are in mm, else in thousands of their unit cubed.
        endocardium: at both, ``[2, P, 2]`` in pixels, the median of the frames around.
        deviation: standard deviation of the ejection fraction from frame to frame, percentage points.
    """

    end_diastolic: float
    end_systolic: float
    endocardium: Array
    deviation: float

    @property
    def ejection_fraction(self) -> float:
        """In %; NaN where there is no volume."""
        return ejection_fraction(self.end_diastolic, self.end_systolic)


def measure_cavity(endocardium: Array, steps: Sequence[float]) -> CavityChange | None:
    """The change of a segmented cavity over a beat, or None where too few frames have a wall.

    Args:
        endocardium: ``[n, P, 2]`` in pixels, from base over apex to base; NaN where a frame has none.
        steps: (row, column) size of a pixel, mm or any unit.

    Examples:
        >>> wedge = np.array([[60.0, 20.0], [0.0, 40.0], [60.0, 60.0]])
        >>> beat = np.stack([[60.0, 40.0] + s * (wedge - [60.0, 40.0]) for s in [1.0] * 9 + [0.8] * 9 + [1.0] * 9])
        >>> round(measure_cavity(beat, (1.0, 1.0)).ejection_fraction, 1)  # 1 − 0.8³
        48.8
    """
    known = np.flatnonzero(np.isfinite(endocardium).all((1, 2)))
    if len(known) < max(2, LEAST_KNOWN * len(endocardium)):
        return None
    volumes = np.array([disc_volume(endocardium[t], steps) for t in known])
    half = (min(FRAMES, max(1, len(endocardium) // SHARE)) - 1) // 2
    around = [known[(known >= t - half) & (known <= t + half)] for t in known]
    calm = np.array([np.median(volumes[np.searchsorted(known, near)]) for near in around])
    largest, smallest = (float(np.percentile(calm, share)) for share in (LARGEST, SMALLEST))
    if not largest > 0:
        return None
    noise = _NORMAL * float(np.median(np.abs(volumes - calm))) / largest
    at = [int(np.abs(calm - volume).argmin()) for volume in (largest, smallest)]
    lines = np.stack([np.median(endocardium[around[k]], axis=0) for k in at])
    return CavityChange(largest, smallest, lines, 100 * noise * float(np.hypot(1, smallest / largest)))
