"""The methods of a comparison, one per variant in a bundle's ``compare.json``, and their results case by case."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.options import check_files
from cardiac_motion.cohort.bundle import bundle_work
from cardiac_motion.cohort.engine import Client, ClusterLost, hold_folder, reasons, run_cases
from cardiac_motion.cohort.runner import Limits
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.run_settings import digest_of


@dataclass
class Method:
    """One row of the table.

    Attributes:
        title: title of the row.
        configs: configuration files that are merged, in this order.
        folder: folder of its results.
        cases: metrics of each finished case.
        failed: reason of each failed case.
    """

    title: str
    configs: list[Path]
    folder: Path
    cases: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def read(self, names: Sequence[str]) -> None:
        """Read the results of the finished cases among ``names``."""
        self.cases = {}
        for name in names:
            path = self.folder / name / "summary.json"
            if path.is_file():
                metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
                self.cases[name] = {k: float("nan") if v is None else v for k, v in metrics.items()}

    def profile(self, name: str) -> list[float] | None:
        """Return the error along the contour of a finished case in mm, or None."""
        summary: dict[str, Any] = json.loads((self.folder / name / "summary.json").read_text(encoding="utf-8"))
        return summary.get("profile_mm")


def list_variants(bundle: Path, output_dir: Path, key: str, variants_file: str = "compare.json") -> list[Method]:
    """Return the variants of a bundle that ``variants_file`` in its configs lists: ``{title: [file, …]}``.

    Args:
        bundle: folder of the bundle.
        output_dir: output folder of the comparison.
        key: text of everything that the results depend on besides the configuration (data, fold).
        variants_file: file of variants; if the bundle has none, its default is the only method.

    Raises:
        InputError: the bundle or a file is missing.
    """
    configs = bundle / "configs"
    base = [configs / "inference.json", configs / "evaluate.json"]
    variants: dict[str, list[str]] = {bundle.name: []}
    if (configs / variants_file).is_file():
        variants = json.loads((configs / variants_file).read_text(encoding="utf-8"))
    methods = []
    for title, names in variants.items():
        files = base + [configs / name for name in names]
        check_files(files, str(bundle))
        slug = re.sub(r"[^a-z0-9]+", "_", f"{bundle.name} {title}".lower()).strip("_")
        methods.append(Method(title, files, output_dir / f"{slug}-{digest_of(files, key)[:8]}"))
    return methods


def run(
    method: Method,
    names: Sequence[str],
    options: dict[str, Any],
    client: Client | None = None,
    limits: Limits | None = None,
) -> None:
    """Evaluate the unfinished cases, and read all results; failures are stored in ``method.failed``.

    Args:
        method: method to run.
        names: names of the cases.
        options: options of the bundle: ``datalist``, ``dataset_dir``, ``fold``, and optionally ``max_frames``.
        client, limits: as in ``cardiac_motion.cohort.engine.run_cases``.

    Raises:
        ClusterLost: the scheduler is gone.
    """
    method.read(names)
    pending = [name for name in names if name not in method.cases]
    if not pending:
        print(f"{method.title}: all {len(names)} cases are finished")
        return
    print(f"{method.title}: {len(pending)} of {len(names)} cases to process", flush=True)
    work = bundle_work(method.configs, {**options, "output_dir": str(method.folder.resolve())})
    with hold_folder(method.folder):
        try:
            method.failed = reasons(run_cases(work, pending, client, limits, method.title))
        except ClusterLost:
            raise
        except InputError as error:  # concerns the method, not a case
            method.failed = dict.fromkeys(pending, str(error))
    method.read(names)
    for reason in dict.fromkeys(method.failed.values()):
        print(f"  {sum(r == reason for r in method.failed.values())} of {len(names)} cases failed: {reason}")
