"""Progress of a job, estimated from earlier durations of its steps: completed fraction, and remaining seconds."""

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
"""Expected seconds per frame of each step, before any measurement on this machine."""
NEWER = 0.5  # weight of the latest measurement in the expected cost
TICK = 0.5  # seconds between two reports
LATE = 0.97  # reported fraction of a step that takes longer than expected


class Progress:
    """Report the progress of a job.

    Args:
        folder: folder of the request.
        steps: steps in order, each with its title on the page.
        frames: number of frames of the cine.
        costs: measured seconds per frame of steps on this machine.

    Attributes:
        measured: measured seconds per frame of the finished steps.
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
        """Report the progress of a step, estimated from its duration so far, until it ends."""
        start, ended = time.perf_counter(), threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                self.report(name, time.perf_counter() - start)

        self.report(name, 0.0)
        ticking = threading.Thread(target=tick, name="progress", daemon=True)
        ticking.start()
        try:
            yield
        finally:
            ended.set()
            ticking.join()
        self.measured[name] = (time.perf_counter() - start) / self.frames
        self.done += self.expected[name]

    def report(self, name: str, seconds: float) -> None:
        """Report that a step has been running for ``seconds``; if it is late, the remaining time is unknown."""
        expected, total = self.expected[name], sum(self.expected.values())
        done = self.done + min(seconds, LATE * expected)
        late = seconds > expected
        report_progress(self.folder, self.steps[name], done / total, None if late else total - done)


def merge_costs(known: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Return the expected costs of steps, updated by new measurements.

    Examples:
        >>> merge_costs({"wall": 1.0, "view": 2.0}, {"wall": 3.0, "strain": 0.5})
        {'wall': 2.0, 'view': 2.0, 'strain': 0.5}
    """
    newer = {name: NEWER * cost + (1 - NEWER) * known.get(name, cost) for name, cost in measured.items()}
    return {**known, **newer}
