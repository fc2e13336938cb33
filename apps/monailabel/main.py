"""The MONAI Label app that serves this repository's bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
from lib.infers import bundle_tasks
from lib.strategies import First, MostUncertain, Random
from lib.studies import Studies
from lib.trainers import SegmentationTraining
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.serving.workers import Results, Workers

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = "nmsr_echo,ssmsr_hippocampus,cpwc_echo,strain_pipeline"
DEFAULTS = {
    "bundles": BUNDLES,
    "atlases": "",
    "workers": "1",
    "waiting": "64",
    "timeout": "900",
    "memory": "0",
    "upload": "1024",
    "device": "",
    "hosts": "",
    "origins": "",
}
"""What ``--conf name value`` may name: served bundles, the folder of atlases, processes, requests that may wait,
seconds and MiB of a request (0: half of the machine's memory), MiB of an upload, device, Host and Origin headers."""


class MotionApp(MONAILabelApp):
    """Motion, segmentation and strain on a folder of studies.

    Args:
        app_dir: this folder.
        studies: folder of the images.
        conf: over ``DEFAULTS``.

    Raises:
        InputError: a value of ``conf`` that can't be used.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        unknown = [name for name in conf if name not in DEFAULTS]
        if unknown:
            raise InputError(f"--conf {unknown[0]}: unknown; there are {', '.join(DEFAULTS)}")
        conf = {**DEFAULTS, **conf}
        try:
            count, waiting, memory = (int(conf[name]) for name in ("workers", "waiting", "memory"))
            seconds = float(conf["timeout"])
            self.upload = int(float(conf["upload"]) * 2**20)
        except ValueError as error:
            raise InputError(f"--conf: {error}") from error
        if count < 1 or waiting < 0 or seconds <= 0 or memory < 0 or self.upload <= 0:
            raise InputError("--conf: workers, timeout and upload are above 0, waiting and memory not below")
        if conf["atlases"] and not Path(conf["atlases"]).is_dir():
            raise InputError(f"--conf atlases {conf['atlases']}: no such folder")
        most = memory * 2**20 or psutil.virtual_memory().total // 2
        self.workers = Workers(count, seconds, most, waiting, ROOT)
        self.checks = Workers(1, 120.0, most, waiting, ROOT)
        super().__init__(
            app_dir, studies, conf, "Cardiac Motion Bundles", "Motion, segmentation and strain. Research only.", "0.1.0"
        )

    def init_datastore(self) -> Studies:
        if "://" in self.studies:
            raise InputError(f"{self.studies}: the studies are a local folder here")
        self.store = Studies(self.studies)
        self.results = Results(self.store.state_folder() / "results")
        self.training = SegmentationTraining(self.store, ROOT)
        return self.store

    def init_infers(self) -> dict[str, InferTask]:
        return dict(
            bundle_tasks(
                ROOT / "bundles",
                [name.strip() for name in self.conf["bundles"].split(",") if name.strip()],
                workers=self.workers,
                results=self.results,
                studies=self.store,
                atlases=str(Path(self.conf["atlases"]).resolve()) if self.conf["atlases"] else None,
                trained=self.training.weights,
                device=self.conf["device"] or None,
            )
        )

    def init_trainers(self) -> dict[str, TrainTask]:
        return {"strain_pipeline": self.training} if "strain_pipeline" in self._infers else {}

    def init_strategies(self) -> dict[str, Strategy]:
        uncertain = MostUncertain(self.workers, self.results, self.training.best_weights)
        return {"most_uncertain": uncertain, "first": First(), "random": Random()}

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Run a model; ``request`` has ``model`` and ``request`` (``lib.infers.InferRequest``).

        Raises:
            RequestRejected: no such model, or what its task raises.
        """
        task = self._infers.get(request["model"])
        if task is None:
            raise RequestRejected(
                404, f"model {request['model']!r}: there is none (there are: {', '.join(self._infers)})"
            )
        file, params = task(request["request"])
        return {"file": file, "params": params}

    def close(self) -> None:
        """End what runs."""
        self.training.stop()
        self.workers.close()
        self.checks.close()
