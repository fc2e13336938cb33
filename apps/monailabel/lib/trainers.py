"""Training of the strain pipeline's segmentation on the labels that were saved with the studies."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.validation import RequestRejected, number, shorten
from cardiac_motion.serving.workers import Job, Workers
from lib.infers import CONTOUR_TAG
from lib.studies import Studies

log = logging.getLogger(__name__)

CONFIGS = ("train_segmentation.json", "train_studies.json")
PARAMETERS = {
    "epochs": (number(1, 1000, whole=True), 10),
    "learning_rate": (number(1e-6, 0.1), 0.0005),
    "batch_size": (number(1, 64, whole=True), 4),
    "size": (number(64, 512, whole=True), 224),
    "frames": (number(1, 100, whole=True), 8),
    "validation": (number(0, 0.9), 0.2),
    "seed": (number(0, 2**31 - 1, whole=True), 0),
}
IGNORED = ("client_id", "model", "name", "device")
MEASURED = ("val_lv_cavity", "val_myocardium")
"""Columns of the training's table whose mean is shown as its accuracy; an atrium need not be labelled."""


class SegmentationTraining(TrainTask):
    """One training at a time, in a process of its own; its weights serve the next strain request.

    It starts from the weights of the last training, or the bundle's. ``<studies>/.motion/training`` keeps its log and
    what it was trained on, ``<studies>/.motion/segmentation.pt`` the weights.

    Args:
        studies: whose images with a ``final`` label are trained on.
        root: of the repository.
    """

    def __init__(self, studies: Studies, root: Path) -> None:
        super().__init__("Segmentation of the strain pipeline, on the cines that have a final label")
        self.studies, self.root = studies, root
        self.folder = studies.state_folder() / "training"
        self.target = studies.state_folder() / "segmentation.pt"
        self.bundle = root / "bundles" / "strain_pipeline"
        self.lock = threading.Lock()
        self.worker = Workers(1, 0.0, 0, 0, root)
        self.job: Job | None = None
        self.task: dict[str, Any] | None = None

    def config(self) -> dict[str, Any]:
        return {name: default for name, (_, default) in PARAMETERS.items()}

    def stats(self) -> dict[str, Any]:
        path = self.target.with_suffix(".json")
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def weights(self) -> Path | None:
        """The weights of the last training, None before the first."""
        return self.target if self.target.is_file() else None

    def best_weights(self) -> Path:
        """The weights that the next strain request takes."""
        return self.weights() or self.bundle / "models" / "segmentation.pt"

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin a training in the background; its state as ``status`` gives it.

        Raises:
            RequestRejected: one runs already, nothing is labelled, or a parameter is none.
        """
        with self.lock:
            if self.is_running():
                raise RequestRejected(429, "a training runs already; stop it, or wait")
            options = self._options(request)
            cases = self._cases(options.pop("validation"))
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            datalist = self.folder / "datalist.json"
            datalist.write_text(json.dumps(cases, indent=1), encoding="utf-8")
            options |= {"datalist": str(datalist), "output_dir": str(self.folder), "start": str(self.best_weights())}
            work = {
                "task": "train",
                "folder": str(self.folder),
                "files": [str(self.bundle / "configs" / name) for name in CONFIGS],
                "options": options,
            }
            self.job = Job()
            self.task = {
                "id": f"{time.time_ns():x}",
                "status": "RUNNING",
                "request": {"model": "strain_pipeline", **request},
                "start_ts": time.strftime("%Y-%m-%d %H:%M:%S"),
                "images": {fold: len(entries) for fold, entries in cases.items()},
            }
            threading.Thread(target=self._run, args=(work, self.job, self.task), daemon=True).start()
        return self.status()

    def _run(self, work: dict[str, Any], job: Job, task: dict[str, Any]) -> None:
        try:
            self.worker.run(work, job)
            self._publish(task)
            status = "DONE"
        except RequestRejected as refused:
            status = "STOPPED" if job.cancelled.is_set() else "ERROR"
            task["reason"] = refused.reason.replace(f"{self.studies.root}/", "")
        except Exception as error:
            log.exception("training")
            status, task["reason"] = "ERROR", f"{type(error).__name__}: the server's log says more"
        self.worker.close()
        task["end_ts"] = time.strftime("%Y-%m-%d %H:%M:%S")
        task["status"] = status

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train and wait for the end."""
        self.start(request)
        while self.is_running():
            time.sleep(0.2)
        return self.status()

    def _options(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.config()
        given = dict(request)
        if "max_epochs" in given:  # MONAI Label's name for it
            given["epochs"] = given.pop("max_epochs")
        for name, value in given.items():
            if name in IGNORED:
                continue
            if name not in PARAMETERS:
                raise RequestRejected(400, f"parameter {shorten(name)}: training takes {', '.join(PARAMETERS)}")
            try:
                found[name] = PARAMETERS[name][0](value)
            except ValueError as error:
                raise RequestRejected(400, f"parameter {name}: expected {error}, got {shorten(value)}") from error
        if found["size"] % 16:
            raise RequestRejected(400, f"parameter size: expected a multiple of 16, got {found['size']}")
        return found

    def _cases(self, share: float) -> dict[str, list[dict[str, str]]]:
        """The labelled images, the last of them for validation; one alone serves for both."""
        self.studies.refresh()
        entries = []
        for name in sorted(self.studies.get_labeled_images()):
            paths = {"image": self.studies.image(name), "label": self.studies.label(name, CONTOUR_TAG)}
            entries.append({"case": name, **{key: str(path) for key, path in paths.items()}})
        if not entries:
            raise RequestRejected(409, "nothing to train on: save a label of a cine with tag final first")
        held = round(share * len(entries)) if len(entries) > 1 else 0
        held = min(max(held, 1), len(entries) - 1) if len(entries) > 1 and share > 0 else 0
        return {"training": entries[: len(entries) - held], "validation": entries[len(entries) - held :] or entries}

    def _publish(self, task: dict[str, Any]) -> None:
        """Put the weights where requests take them from, and what is known of them beside."""
        with open(self.folder / "training.csv", newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        last = {name: float(value) for name, value in rows[-1].items() if value} if rows else {}
        dice = [last[name] for name in MEASURED if name in last]
        about = {
            "trainings": self.stats().get("trainings", 0) + 1,
            "start_ts": task["start_ts"],
            **task["images"],
            **({"best_metric": sum(dice) / len(dice)} if dice else {}),
            "last": last,
        }
        for name, write in (
            ("segmentation.pt", lambda beside: shutil.copyfile(self.folder / "segmentation.pt", beside)),
            ("segmentation.json", lambda beside: beside.write_text(json.dumps(about, indent=1), encoding="utf-8")),
        ):
            with write_whole(self.target.with_name(name)) as beside:
                write(beside)

    def is_running(self) -> bool:
        """Whether a training runs."""
        return self.task is not None and self.task["status"] == "RUNNING"

    def status(self) -> dict[str, Any]:
        """Of the last training: ``status`` (RUNNING, DONE, ERROR, STOPPED) and the last lines of its log.

        Raises:
            RequestRejected: there was none.
        """
        if self.task is None:
            raise RequestRejected(404, "no training has been started")
        said = self.folder / "log.txt"
        text = said.read_text(errors="replace", encoding="utf-8") if said.is_file() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip() and "step/s" not in line]
        return {**self.task, "details": [line.replace(f"{self.studies.root}/", "") for line in lines[-20:]]}

    def stop(self) -> dict[str, Any]:
        """End the training that runs, if any; its weights are lost."""
        if self.is_running() and self.job is not None:
            self.job.cancel()
            while self.is_running():
                time.sleep(0.05)
        return self.status() if self.task else {}
