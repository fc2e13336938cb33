"""What repeats of a patient say of a measurement (``simulated_repeats`` makes them), and the corrected number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cardiac_motion.strain_pipeline.measures.intervals import METHOD, Interval, interval

FEWEST_FOR_SLOPE = 6  # repeats from which on the error may depend on the strain
STEEPEST = 0.5  # of that dependence, at most


@dataclass(frozen=True)
class SimulatedRepeat:
    """One repeat.

    Attributes:
        true, measured: GLS, %; measured is None where the pipeline gives none.
        lncc2: NCC² of its registered frames.
    """

    true: float
    measured: float | None
    lncc2: float


@dataclass(frozen=True)
class RepeatsResult:
    """A measurement and its repeats.

    Attributes:
        gls: GLS of the patient's beat, %.
        repeats: of it.
        surroundings: of the wall, as they were simulated.
        decorrelation: strength of the speckle's own changes.
        lncc2: NCC² of the patient's registered frames.
    """

    gls: float
    repeats: Sequence[SimulatedRepeat]
    surroundings: str
    decorrelation: float
    lncc2: float

    @property
    def errors(self) -> list[float]:
        """Measured less true of each repeat that was measured, points of %."""
        return [repeat.measured - repeat.true for repeat in self.repeats if repeat.measured is not None]

    @property
    def bias(self) -> float | None:
        """Their mean; None of none."""
        return float(np.mean(self.errors)) if self.errors else None

    @property
    def slope(self) -> float:
        """Change of the error with the true strain, held within ±0.5; 0 of few repeats."""
        known = [repeat for repeat in self.repeats if repeat.measured is not None]
        true = np.array([repeat.true for repeat in known])
        if len(known) < FEWEST_FOR_SLOPE or np.ptp(true) < 1:
            return 0.0
        return float(np.clip(np.polyfit(true, self.errors, 1)[0], -STEEPEST, STEEPEST))

    @property
    def corrected(self) -> float | None:
        """The GLS that would be measured as what was found, %: ``true + error(true) = found``."""
        if self.bias is None:
            return None
        centre = float(np.mean([repeat.true for repeat in self.repeats if repeat.measured is not None]))
        slope = self.slope
        return (self.gls - self.bias + slope * centre) / (1 + slope)

    @property
    def interval(self) -> Interval | None:
        """90 % interval of the corrected number; None with fewer than three repeats.

        It combines the spread of the repeats' errors with the method's error, which repeats contain only partly: they
        use the segmented wall, in simulated images.
        """
        if self.corrected is None or len(self.errors) < 3:
            return None
        spread = float(np.std(self.errors, ddof=1)) * float(np.sqrt(1 + 1 / len(self.errors)))
        return interval(self.corrected, spread / (1 + self.slope), METHOD["gls"])

    def row(self) -> Mapping[str, Any]:
        """For ``summary.json``."""
        return {
            "gls": self.gls, "gls_corrected": self.corrected, "interval": self.interval, "bias": self.bias,
            "surroundings": self.surroundings, "decorrelation": self.decorrelation, "lncc2": self.lncc2,
            "repeats": [{"true": r.true, "measured": r.measured, "lncc2": r.lncc2} for r in self.repeats],
        }  # fmt: skip

    def describe(self) -> str:
        """In words.

        Examples:
            >>> pairs = [(-20.0, -18.0), (-23.0, -21.0), (-17.0, -15.0)]
            >>> repeats = [SimulatedRepeat(true, measured, 0.8) for true, measured in pairs]
            >>> RepeatsResult(-18.0, repeats, "static", 0.0, 0.8).describe()
            'of 3 repeats whose strain is known the method measures 2.0 points too little shortening'
        """
        if self.bias is None:
            return f"of {len(self.repeats)} repeats none could be measured"
        way = "too little" if self.bias > 0 else "too much"
        count = f"{len(self.errors)} repeat{'s' if len(self.errors) > 1 else ''}"
        return f"of {count} whose strain is known the method measures {abs(self.bias):.1f} points {way} shortening"
