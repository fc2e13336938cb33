"""Which study to label next: the one whose segmentation is the least certain, the first, or any."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.serving.workers import Results, Workers
from lib.studies import Studies

AT_ONCE = 20


def list_unlabelled(studies: Studies) -> list[str]:
    """Names of the images without a label, in order, of what lies in the folder now."""
    studies.refresh()
    return sorted(studies.get_unlabeled_images())


class First(Strategy):
    """The first unlabelled image in the order of their names."""

    def __init__(self) -> None:
        super().__init__("The first unlabelled image, by name")

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any] | None:
        names = list_unlabelled(datastore)
        return {"id": names[0]} if names else None


class Random(Strategy):
    """Any unlabelled image, each as likely as the others."""

    def __init__(self) -> None:
        super().__init__("Any unlabelled image")

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any] | None:
        names = list_unlabelled(datastore)
        return {"id": random.choice(names)} if names else None


class MostUncertain(Strategy):
    """The unlabelled image of the greatest entropy of segmentation (``cardiac_motion.serving.requests.uncertainty``).

    What was found is kept in the studies' folder until the image or the weights change. A call computes up to
    ``AT_ONCE`` that are missing; the others wait for the next call. What is no cine is never picked.

    Args:
        workers, results: where the segmentation runs.
        weights: gives the file of its weights.
    """

    def __init__(self, workers: Workers, results: Results, weights: Callable[[], Path]) -> None:
        super().__init__("The unlabelled cine whose segmentation is the least certain")
        self.workers, self.results, self.weights = workers, results, weights

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any] | None:
        found = self.scores(datastore, request.get("job"))
        if not found:
            return None
        best = max(sorted(found), key=lambda name: found[name])
        return {"id": best, "uncertainty": found[best], "scored": len(found)}

    def scores(self, studies: Studies, job: Any = None) -> dict[str, float]:
        """Uncertainty of each unlabelled cine, as far as it is known."""
        studies.refresh()
        path = studies.state_folder() / "uncertainty.json"
        known: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        weights = self.weights()
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        computed, found = 0, {}
        for name in studies.get_unlabeled_images():
            image = studies.image(name)
            state = [digest, image.stat().st_mtime_ns, image.stat().st_size]
            entry = known.get(name)
            if (entry is None or entry[0] != state) and computed < AT_ONCE:
                known[name] = entry = [state, self._score(image, weights, job)]
                computed += 1
            if entry is not None and entry[0] == state and entry[1] is not None:
                found[name] = entry[1]
        if computed:
            with write_whole(path) as beside:
                beside.write_text(json.dumps(known), encoding="utf-8")
        return found

    def _score(self, image: Path, weights: Path, job: Any) -> float | None:
        folder = self.results.create()
        try:
            request = {"task": "uncertainty", "folder": str(folder), "image": str(image), "weights": str(weights)}
            return self.workers.run(request, job)["uncertainty"]
        except RequestRejected as refused:
            if refused.status in (499, 503):
                raise
            return None
        finally:
            self.results.finish(folder, False)
