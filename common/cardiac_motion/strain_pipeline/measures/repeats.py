"""What twins of a patient say of a measurement (``simulated_repeats`` makes them), and the corrected number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cardiac_motion.strain_pipeline.measures.intervals import METHOD, Interval, interval

FEWEST_FOR_SLOPE = 6  # twins from which on the error may depend on the strain
STEEPEST = 0.5  # of that dependence, at most


@dataclass(frozen=True)
class Twin:
    """One twin.

    Attributes:
        true, measured: GLS, %; measured is None where the pipeline gives none.
        alike: NCC² of its registered frames.
    """

    true: float
    measured: float | None
    alike: float


@dataclass(frozen=True)
class TwinResult:
    """A measurement and its twins.

    Attributes:
        found: GLS of the patient's beat, %.
        twins: of it.
        surroundings: of the wall, as they were simulated.
        decorrelation: strength of the speckle's own changes.
        alike: NCC² of the patient's registered frames.
    """

    found: float
    twins: Sequence[Twin]
    surroundings: str
    decorrelation: float
    alike: float

    @property
    def errors(self) -> list[float]:
        """Measured less true of each twin that was measured, points of %."""
        return [twin.measured - twin.true for twin in self.twins if twin.measured is not None]

    @property
    def bias(self) -> float | None:
        """Their mean; None of none."""
        return float(np.mean(self.errors)) if self.errors else None

    @property
    def slope(self) -> float:
        """Change of the error with the true strain, held within ±0.5; 0 of few twins."""
        known = [twin for twin in self.twins if twin.measured is not None]
        true = np.array([twin.true for twin in known])
        if len(known) < FEWEST_FOR_SLOPE or np.ptp(true) < 1:
            return 0.0
        return float(np.clip(np.polyfit(true, self.errors, 1)[0], -STEEPEST, STEEPEST))

    @property
    def corrected(self) -> float | None:
        """The GLS that would be measured as what was found, %: ``true + error(true) = found``."""
        if self.bias is None:
            return None
        centre = float(np.mean([twin.true for twin in self.twins if twin.measured is not None]))
        slope = self.slope
        return (self.found - self.bias + slope * centre) / (1 + slope)

    @property
    def interval(self) -> Interval | None:
        """90 % of the corrected number, from the spread of the twins' errors and the method's error, of which twins
        know only a part: they have the wall that was found, in simulated pictures. None of fewer than three."""
        if self.corrected is None or len(self.errors) < 3:
            return None
        spread = float(np.std(self.errors, ddof=1)) * float(np.sqrt(1 + 1 / len(self.errors)))
        return interval(self.corrected, spread / (1 + self.slope), METHOD["gls"])

    def row(self) -> Mapping[str, Any]:
        """For ``summary.json``."""
        return {
            "gls": self.found, "gls_corrected": self.corrected, "interval": self.interval, "bias": self.bias,
            "surroundings": self.surroundings, "decorrelation": self.decorrelation, "alike": self.alike,
            "twins": [{"true": twin.true, "measured": twin.measured, "alike": twin.alike} for twin in self.twins],
        }  # fmt: skip

    def describe(self) -> str:
        """In words.

        Examples:
            >>> twins = [Twin(-20.0, -18.0, 0.8), Twin(-23.0, -21.0, 0.8), Twin(-17.0, -15.0, 0.8)]
            >>> TwinResult(-18.0, twins, "still", 0.0, 0.8).describe()
            'of 3 twins whose strain is known the method measures 2.0 points too little shortening'
        """
        if self.bias is None:
            return f"of {len(self.twins)} twins none could be measured"
        way = "too little" if self.bias > 0 else "too much"
        count = f"{len(self.errors)} twin{'s' if len(self.errors) > 1 else ''}"
        return f"of {count} whose strain is known the method measures {abs(self.bias):.1f} points {way} shortening"
