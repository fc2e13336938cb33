"""A bundle as a MONAI Label model: what a request may say to it, and what comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from cardiac_motion.bundle.config import config_files
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.requests import CASE
from cardiac_motion.serving.validation import Check, RequestRejected, choice, number, shorten, spacing, switch
from cardiac_motion.serving.workers import Job, Results, Workers
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.labels import LABELS as HEART
from cardiac_motion.volume.volume_case import LABELS as HIPPOCAMPUS
from lib.studies import Studies

CINE, STUDY, VOLUME = (
    "cardiac_motion.cine.cases.CineCases",
    "cardiac_motion.strain_pipeline.cases.StudyCases",
    "cardiac_motion.volume.cases.VolumeCases",
)
CONTOUR_TAG = "final"
IGNORED = ("client_id", "label_info", "result_dtype", "result_compress", "device", "logging")
"""What MONAI Label's own clients send along, and nothing here depends on."""

PRESETS = {
    "nmsr_echo": ("motion", "diffeomorphic", "nmsr", "nmsr_v", "nmsr_vi"),
    "ssmsr_hippocampus": ("fusion", "majority", "labelled", "labelled_fusion", "memberships", "memberships_fusion"),
    "cpwc_echo": ("no_composition",),
    "strain_pipeline": ("motion_nmsr", "motion_farneback"),
    "ants_syn": ("quick", "bspline"),
}
"""Configurations of a bundle that a request may lay over ``inference.json``."""


@dataclass(frozen=True)
class Parameter:
    """A value that a request may give.

    Attributes:
        check: gives the value as the bundle takes it, or raises ``ValueError`` with what it should be.
        shown: what a viewer offers; a list is a choice.
        unsaid: value of a viewer that stands for nothing said.
        entry: name in the datalist's entry; None for an option of the bundle.
    """

    check: Check
    shown: Any
    unsaid: Any = None
    entry: str | None = None


FRAME = number(0, 1e6, whole=True)
FIGURES = Parameter(switch, False)
EXTENSION = "result_extension"  # `.nrrd` is answered with NRRD, all else with `.nii.gz`
CINE_PARAMETERS = {
    "spacing": Parameter(spacing, "", "", "spacing"),
    "max_frames": Parameter(number(0, 1e6, whole=True), 0, 0),
    "save_figures": FIGURES,
}
PARAMETERS: dict[str, dict[str, Parameter]] = {
    CINE: {**CINE_PARAMETERS, "ed": Parameter(FRAME, -1, -1, "ed"), "es": Parameter(FRAME, -1, -1, "es")},
    STUDY: {
        "view": Parameter(choice("A4C", "A2C", "ALAX"), ["auto", "A4C", "A2C", "ALAX"], "auto", "assumed_view"),
        "ed": Parameter(FRAME, -1, -1, "ed"),
        "es": Parameter(FRAME, -1, -1, "es"),
        "layer": Parameter(choice(*LAYERS), list(LAYERS)),
        "drift_correction": Parameter(switch, True),
        "mirrored": Parameter(switch, False),
        **CINE_PARAMETERS,
        "save_figures": Parameter(switch, True),
    },
    VOLUME: {"save_figures": FIGURES},
}


@dataclass
class InferRequest:
    """A checked request.

    Attributes:
        image: file, and ``name``: what the client calls it.
        params: as the client gave them.
        label: file that came with the request; a contour, a mask or a label to score against.
        second: file of another image.
        job: to cancel it.
    """

    image: Path
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    label: Path | None = None
    second: Path | None = None
    job: Job = field(default_factory=Job)


class BundleInfer(InferTask):
    """Runs a bundle on one image.

    Args:
        bundle: folder.
        workers, results: where it runs, and where its files go.
        studies: whose saved contours are used.
        atlases: folder of labelled volumes, for the bundles that segment by registration.
        trained: gives the weights of the segmentation that were trained on the studies, None before that.
        device: ``cpu`` or ``cuda``; None leaves it to the bundle.
    """

    def __init__(
        self,
        bundle: Path,
        workers: Workers,
        results: Results,
        studies: Studies,
        atlases: str | None,
        trained: Callable[[], Path | None],
        device: str | None = None,
    ) -> None:
        self.name, self.bundle, self.workers, self.results = bundle.name, bundle, workers, results
        self.studies, self.atlases, self.trained, self.device = studies, atlases, trained, device
        self.files = config_files(bundle)
        config = json.loads(self.files[0].read_text(encoding="utf-8"))
        self.dataset = config["dataset"]["_target_"]
        self.options = set(config)
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        labels = {STUDY: HEART, VOLUME: HIPPOCAMPUS}.get(self.dataset, {})
        self.label_names = {name: value for value, name in labels.items()}
        kind = InferType.SEGMENTATION if labels else InferType.OTHERS
        self.parameters = self._parameters()
        shown_values = {name: parameter.shown for name, parameter in self.parameters.items()}
        super().__init__(kind, self.label_names, 3, metadata["description"], shown_values)

    def _parameters(self) -> dict[str, Parameter]:
        found = dict(PARAMETERS[self.dataset])
        if self.dataset == CINE and "contour" not in self.options and "ed_mask" not in self.options:
            found = {name: p for name, p in found.items() if name not in ("ed", "es")}
        presets = PRESETS.get(self.name, ())
        if presets:
            found["preset"] = Parameter(choice(*presets), ["default", *presets], "default")
        if self.dataset == STUDY:
            found["contour"] = Parameter(choice("saved", "none"), ["saved", "none"])
            found["weights"] = Parameter(choice("trained", "bundle"), ["trained", "bundle"])
        return found

    def is_valid(self) -> bool:
        return True

    def values(self, params: dict[str, Any]) -> dict[str, Any]:
        """What a request says, checked.

        Raises:
            RequestRejected: a parameter that this model doesn't have, or a value that it doesn't take.
        """
        found = {}
        for name, value in params.items():
            if name in (*IGNORED, EXTENSION, "second"):
                continue
            parameter = self.parameters.get(name)
            if parameter is None:
                known = ", ".join([*self.parameters, *(["second"] if self.dataset == CINE else [])])
                raise RequestRejected(400, f"parameter {shorten(name)}: {self.name} takes {known}")
            if value is None or value == parameter.unsaid or (isinstance(value, list) and value == parameter.shown):
                continue
            try:
                found[name] = parameter.check(value)
            except ValueError as error:
                raise RequestRejected(400, f"parameter {name}: expected {error}, got {shorten(value)}") from error
        return found

    def __call__(self, request: InferRequest) -> tuple[str | None, dict[str, Any]]:
        """Run the bundle; the file for a viewer, and the numbers.

        Raises:
            RequestRejected: the input is at fault, or what ``Workers.run`` raises.
        """
        values = self.values(request.params)
        folder = self.results.create()
        kept = False
        try:
            answer = self.workers.run(
                {
                    "task": "infer",
                    "folder": str(folder),
                    "nrrd": str(request.params.get(EXTENSION, "")).endswith(".nrrd"),
                    **self.work(request, values),
                },
                request.job,
            )
            kept = True
        except RequestRejected as refused:
            raise RequestRejected(refused.status, self.hide_folders(refused.reason, request, folder)) from refused
        finally:
            self.results.finish(folder, kept)
        numbers = json.loads(self.hide_folders(json.dumps(answer["summary"]), request, folder))
        for report in (folder / CASE).glob("*.html"):
            report.write_text(self.hide_folders(report.read_text(encoding="utf-8"), request, folder), encoding="utf-8")
        numbers.update(
            case=request.name,
            label_names=self.label_names,
            result=folder.name,
            files={name: f"/result/{folder.name}/{name}" for name in answer["files"]},
        )
        return (str(folder / CASE / answer["result"]) if answer["result"] else None), numbers

    def work(self, request: InferRequest, values: dict[str, Any]) -> dict[str, Any]:
        """The part of a worker's request that says what to run."""
        files = list(self.files)
        if "preset" in values:
            files = config_files(self.bundle, further=[f"{values['preset']}.json"])
        entry = {"image": str(request.image)}
        options: dict[str, Any] = {}
        for name, value in values.items():
            parameter = self.parameters[name]
            if name not in ("preset", "contour", "weights"):
                (options if parameter.entry is None else entry)[parameter.entry or name] = value
        if self.device:
            options["device"] = self.device
        add = {CINE: self._cine, STUDY: self._study, VOLUME: self._volume}[self.dataset]
        found = add(request, values, entry, options)
        return {"files": [str(path) for path in files], "options": options, "entry": found}

    def _cine(
        self, request: InferRequest, values: dict[str, Any], entry: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        if request.second is not None:
            entry["es_image"] = str(request.second)
        if "contour" in self.options:
            options |= {name: entry.pop(name) for name in ("ed", "es") if name in entry}
            if request.label is not None:
                entry["contour"] = str(request.label)
        elif request.label is not None:
            if "ed_mask" not in self.options:
                raise RequestRejected(400, f"{self.name} takes no label")
            entry["blood_mask"] = str(request.label)
        return entry

    def _study(
        self, request: InferRequest, values: dict[str, Any], entry: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        if request.second is not None:
            raise RequestRejected(400, f"{self.name} takes no second image")
        label = request.label or (self.find_saved_contour(request.name) if values.get("contour") != "none" else None)
        if label is not None:
            entry["contour"] = str(label)
        trained = self.trained() if values.get("weights") != "bundle" else None
        if trained is not None:
            options["segmentation_weights"] = str(trained)
        return entry

    def _volume(
        self, request: InferRequest, values: dict[str, Any], entry: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        if request.second is not None:
            raise RequestRejected(400, f"{self.name} takes no second image")
        if not self.atlases:
            raise RequestRejected(409, f"{self.name} has no atlases: start the server with --conf atlases DIR")
        options |= {"input": entry["image"], "atlas_dir": self.atlases}
        if request.label is not None:
            options["label"] = str(request.label)
        return None

    def find_saved_contour(self, name: str) -> Path | None:
        """The label that was saved for an image, if any."""
        try:
            return self.studies.label(name, CONTOUR_TAG)
        except RequestRejected:
            return None

    def hide_folders(self, text: str, request: InferRequest, folder: Path) -> str:
        """A text for the client, without the server's folders."""
        for path in (request.image, request.label, request.second):
            if path is not None:
                text = text.replace(str(path), request.name if path == request.image else path.name)
        for place in (folder, self.studies.root, self.bundle.parents[1]):
            text = text.replace(f"{place}/", "")
        return text


def bundle_tasks(folder: Path, names: Sequence[str], **shared: Any) -> dict[str, BundleInfer]:
    """A task for each bundle by its name.

    Raises:
        InputError: there is no such bundle.
    """
    for name in names:
        if "/" in name or not (folder / name / "configs" / "inference.json").is_file():
            known = sorted(path.parents[1].name for path in folder.glob("*/configs/inference.json"))
            raise InputError(f"bundle {name!r}: there is none (there are: {', '.join(known)})")
    return {name: BundleInfer(folder / name, **shared) for name in names}


def store_upload(file: Any, target: Path) -> Path:
    """Store an uploaded file."""
    with open(target, "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)
    return target
