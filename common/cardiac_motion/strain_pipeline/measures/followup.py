"""Two studies of one patient: what has changed, and whether that is more than measuring twice would show.

The first study is read from its own results. Of each number, the errors of either measurement that its own sampling
tells (``intervals``) add up; the method's error is partly the same both times, since it is the same heart, and what is
not is ``REPEAT``. A change is told from none where its 90 % interval holds no zero; half that interval, of two
measurements as certain as this one, is the smallest change that can be told (Weir 2005, 10.1519/15184.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import SCHEMA
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, QUANTILE, REPEAT, Interval, sampling_variance

NAMES = {"gls": "GLS", "long_axis_strain": "Long-axis strain", "ejection_fraction": "Ejection fraction"}


@dataclass(frozen=True)
class Earlier:
    """A view of an earlier study.

    Attributes:
        path: of its ``summary.json``.
        source: of its cine.
        layer: whose strain was measured.
        motion: that measured it, as its options say; None where they don't.
        forced: whether it was measured by force.
        means, intervals: of its beats, %.
        segments: name to end-systolic strain and interval, %, of those that were kept.
    """

    path: str
    source: str
    layer: str
    motion: str | None
    forced: bool
    means: Mapping[str, float | None]
    intervals: Mapping[str, Interval]
    segments: Mapping[str, tuple[float, Interval | None]]


@dataclass(frozen=True)
class Change:
    """The change of a number from an earlier study to this one.

    Attributes:
        name: ``gls``, ``long_axis_strain``, ``ejection_fraction``, or of a segment.
        before, now: %.
        interval: of ``now − before``, 90 %; None where either has none.
    """

    name: str
    before: float
    now: float
    interval: Interval | None

    @property
    def value(self) -> float:
        """Now less before, points of %."""
        return self.now - self.before

    @property
    def beyond(self) -> bool | None:
        """Whether it is more than measuring twice would show; None where nobody knows."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]

    def row(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "name": self.name, "before": self.before, "now": self.now, "change": self.value, "interval": self.interval,
            "more_than_error": self.beyond,
        }  # fmt: skip


def half_width(before: Interval, now: Interval, name: str) -> float:
    """Half the 90 % interval of a difference of two values.

    Args:
        before, now: intervals of either.
        name: of the number, a key of ``METHOD``.
    """
    own = sampling_variance(before, METHOD[name]) + sampling_variance(now, METHOD[name])
    return QUANTILE * float(np.sqrt(own + REPEAT[name] ** 2))


def smallest_detectable_change(interval: Interval, name: str) -> float:
    """The smallest change that two measurements as certain as this one tell from none, points of %.

    Args:
        interval: 90 %, of the one.
        name: of the number, a key of ``METHOD``.
    """
    return half_width(interval, interval, name)


def changes(earlier: Earlier, means: Mapping[str, float | None], intervals: Mapping[str, Interval],
            segments: Sequence[Mapping[str, Any]], layer: str) -> list[Change]:  # fmt: skip
    """What has changed since an earlier study of the same view: numbers first, then segments in their order.

    Args:
        earlier: of the view.
        means, intervals: of this one, as ``Measured`` has them.
        segments: rows of this one (``case.mean_segments``).
        layer: whose strain they are.

    Raises:
        InputError: the earlier strain is another line's.
    """
    if earlier.layer != layer:
        raise InputError(
            f"{earlier.path}: strain of the {earlier.layer}, this is of the {layer}; --layer {earlier.layer}"
        )
    found = []
    for name in NAMES:
        before, now = earlier.means.get(name), means.get(name)
        if before is not None and now is not None:
            found.append(change(name, before, now, earlier.intervals.get(name), intervals.get(name), name))
    for row in segments:
        old, now = earlier.segments.get(row["name"]), row["end_systolic"]
        if old is not None and now is not None and not row["rejected"]:
            found.append(change(row["name"], old[0], now, old[1], row.get("interval"), "segment"))
    return found


def change(name: str, before: float, now: float, earlier: Interval | None, later: Interval | None, kind: str) -> Change:
    """A change with its interval.

    Args:
        name: of the number or segment.
        before, now: values.
        earlier, later: their intervals, where they have one.
        kind: a key of ``METHOD``.

    Examples:
        >>> found = change("gls", -20.0, -10.0, (-24.0, -16.0), (-14.0, -6.0), "gls")
        >>> found.value, found.beyond
        (10.0, True)
    """
    if earlier is None or later is None:
        return Change(name, before, now, None)
    half, value = half_width(earlier, later, kind), now - before
    return Change(name, before, now, (value - half, value + half))


def read_earlier(path: str | Path) -> dict[str, Earlier]:
    """An earlier study: view name to what was measured.

    Args:
        path: the output folder of a cine or of a study, or a ``summary.json``.

    Raises:
        InputError: nothing is there that strain_pipeline measured, or a view is there twice.
    """
    place = Path(path)
    files = [place] if place.is_file() else sorted({*place.glob("summary.json"), *place.glob("*/summary.json")})
    found: dict[str, Earlier] = {}
    for file in files:
        earlier = _read(file)
        if earlier is None:
            continue
        view, one = earlier
        if view in found:
            raise InputError(
                f"{path}: the {view.replace('_', ' ')} view twice, {found[view].path} and {file}; name one"
            )
        found[view] = one
    if not found:
        raise InputError(f"{path}: no summary.json of strain_pipeline is there; --baseline takes its output folder")
    return found


def _read(file: Path) -> tuple[str, Earlier] | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if "view" not in stored or "beats" not in stored or "metrics" not in stored:
            return None
        if stored.get("schema") != SCHEMA:
            raise InputError(f"{file}: was written by another version of this program; measure the earlier study again")
        rows: dict[str, list[tuple[float, Interval | None]]] = {}
        for beat in stored["beats"]:
            for row in beat["segments"]:
                if not row["rejected"] and row["end_systolic"] is not None:
                    interval = row.get("interval")
                    rows.setdefault(row["name"], []).append(
                        (float(row["end_systolic"]), interval and (float(interval[0]), float(interval[1])))
                    )
        intervals = {name: (float(a), float(b)) for name, (a, b) in (stored.get("intervals") or {}).items()}
        segments = {name: _mean(values) for name, values in rows.items()}
        return stored["view"], Earlier(
            str(file), str(stored["source"]), stored["layer"], (stored.get("options") or {}).get("motion"),
            bool(stored.get("forced")), stored["metrics"], intervals, segments,
        )  # fmt: skip
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: no readable result of strain_pipeline ({type(error).__name__})") from None


def _mean(values: Sequence[tuple[float, Interval | None]]) -> tuple[float, Interval | None]:
    centre = float(np.mean([value for value, _ in values]))
    known = [interval for _, interval in values if interval is not None]
    if not known:
        return centre, None
    half = float(np.mean([(high - low) / 2 for low, high in known]))
    return centre, (centre - half, centre + half)
