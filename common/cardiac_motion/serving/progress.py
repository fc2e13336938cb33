"""How far a job is, by what its steps have cost before: a share of the time, and the seconds that are left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cardiac_motion.serving.workers import report_progress

COSTS: Mapping[str, float] = {
    "reading": 0.02, "view": 0.05, "pictures": 0.02, "wall": 0.3, "motion by DIS": 0.1, "motion by NCC flow": 2.2,
    "motion by Farnebäck": 0.1, "motion by NMSR": 4.0, "motion by greedy": 4.0, "motion by ANTs quick": 6.0,
    "strain": 0.3, "report and movie": 0.15, "fields and masks": 0.1,
}  # fmt: skip
"""Seconds a frame that each step is expected to take, before anything was measured on this machine."""
NEWER = 0.5  # share that the latest measurement of a cost has in what is expected
TICK = 0.5  # seconds between two reports
LATE = 0.97  # share of a step that is said to be done when it takes longer than expected


class Progress:
    """Reports how far a job is.

    Args:
        folder: of the request.
        steps: what is done, in order, each with the words that a page shows.
        frames: of the cine.
        costs: seconds a frame that steps have taken on this machine.

    Attributes:
        measured: seconds a frame that the steps took.
    """

    def __init__(
        self, folder: str | Path, steps: Mapping[str, str], frames: int, costs: Mapping[str, float] | None = None
    ) -> None:
        self.folder, self.steps, self.frames = folder, dict(steps), max(frames, 1)
        known = {**COSTS, **(costs or {})}
        self.expected = {name: self.frames * known.get(name, 1.0) for name in self.steps}
        self.measured: dict[str, float] = {}
        self.done = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report a step, by the time that it has taken, until it ends."""
        start, ended = time.perf_counter(), threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                self.tell(name, time.perf_counter() - start)

        self.tell(name, 0.0)
        ticking = threading.Thread(target=tick, name="progress", daemon=True)
        ticking.start()
        try:
            yield
        finally:
            ended.set()
            ticking.join()
        self.measured[name] = (time.perf_counter() - start) / self.frames
        self.done += self.expected[name]

    def tell(self, name: str, seconds: float) -> None:
        """Report that a step has taken so many seconds; of one that is late nobody knows how long it will take."""
        expected, total = self.expected[name], sum(self.expected.values())
        done = self.done + min(seconds, LATE * expected)
        late = seconds > expected
        report_progress(self.folder, self.steps[name], done / total, None if late else total - done)


def merge_costs(known: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """What steps are expected to cost after they were measured again.

    Examples:
        >>> merge_costs({"wall": 1.0, "view": 2.0}, {"wall": 3.0, "strain": 0.5})
        {'wall': 2.0, 'view': 2.0, 'strain': 0.5}
    """
    newer = {name: NEWER * cost + (1 - NEWER) * known.get(name, cost) for name, cost in measured.items()}
    return {**known, **newer}
