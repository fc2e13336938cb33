"""Scores of a case, and metrics of how well its registration reconstructs the fixed frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from cardiac_motion.core.entry import Case
from cardiac_motion.registration.metrics import reconstruction, regularity
from cardiac_motion.registration.result import RegistrationResult


@dataclass(frozen=True)
class Scores:
    """Scores of a case; ``a | b`` merges two, with b's values where both have one.

    Attributes:
        metrics: one value per column of ``metrics.csv``.
        pairs: one value per frame pair for each column of ``pairs.csv``.
        table: rows for the terminal, one per stage: ``stage``, ``mse``, ``lncc2``, ``seconds``.
        profile_mm: error along a contour, if the truth is known.

    Examples:
        >>> scores = Scores({"mse": 0.02}) | Scores({"gls": -18.5}, profile_mm=[0.4, 0.6])
        >>> dict(scores.metrics), scores.profile_mm
        ({'mse': 0.02, 'gls': -18.5}, [0.4, 0.6])
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    pairs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()
    profile_mm: Sequence[float] | None = None

    def __or__(self, other: Scores) -> Scores:
        return Scores(
            {**self.metrics, **other.metrics},
            {**self.pairs, **other.pairs},
            other.table or self.table,
            self.profile_mm if other.profile_mm is None else other.profile_mm,
        )


def reconstruction_scores(case: Case, result: RegistrationResult, radius: int = 10) -> Scores:
    """Compute MSE, LNCC² and folding before the registration, after each stage and at the end, and the seconds.

    Metrics without suffix are the last stage's; those of coarser stages end in ``@1/8`` etc., those of the unregistered
    pairs in ``_unregistered``. ``pairs`` are the last stage's.

    Args:
        case: case with the registered pairs.
        result: their fields.
        radius: radius of the LNCC² window; the papers evaluate with 10 and register with 6.
    """

    def row(stage: str, scores: Mapping[str, Tensor], seconds: float) -> dict[str, Any]:
        return {"stage": stage, **{key: float(values.mean()) for key, values in scores.items()}, "seconds": seconds}

    table = [row("before", reconstruction(case.image, case.mask, None, radius), 0.0)]
    for stage in result.stages[:-1]:
        table.append(row(stage.title, reconstruction(case.image, case.mask, stage.ddf, radius), stage.seconds))
    final = reconstruction(case.image, case.mask, result.ddf.__getitem__, radius)
    last = (result.stages[-1].title, result.stages[-1].seconds) if result.stages else ("after", result.seconds)
    table.append(row(last[0], final, last[1]))
    metrics = {
        f"{key}_unregistered" if stage is table[0] else f"{key}@{stage['stage'].removeprefix('scale ')}": value
        for stage in table[:-1]
        for key, value in stage.items()
        if key not in ("stage", "seconds")
    }
    final.update(regularity(result.ddf, case.mask))
    metrics |= {key: float(values.mean()) for key, values in final.items()}
    metrics |= {"seconds": result.seconds, "seconds_per_pair": result.seconds / len(result.ddf)}
    metrics["processor_seconds_per_pair"] = result.processor_seconds / len(result.ddf)
    return Scores(metrics, {key: values.tolist() for key, values in final.items()}, table)
