"""The methods of a comparison, a line of a bundle's ``compare.json`` each, and their results case by case."""

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
        title: of the row.
        configs: files that are merged, in this order.
        folder: of its results.
        cases: metrics of each finished case.
        failed: reason of each case that was not.
    """

    title: str
    configs: list[Path]
    folder: Path
    cases: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def read(self, names: Sequence[str]) -> None:
        """Read what is finished of the cases ``names``."""
        self.cases = {}
        for name in names:
            path = self.folder / name / "summary.json"
            if path.is_file():
                metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
                self.cases[name] = {k: float("nan") if v is None else v for k, v in metrics.items()}

    def profile(self, name: str) -> list[float] | None:
        """Error along the contour of a finished case, mm, where it has one."""
        summary: dict[str, Any] = json.loads((self.folder / name / "summary.json").read_text(encoding="utf-8"))
        return summary.get("profile_mm")


def methods_of(bundle: Path, output_dir: Path, key: str, variants_file: str = "compare.json") -> list[Method]:
    """The methods that a bundle compares, as ``variants_file`` in its configs lists them: ``{title: [file, …]}``.

    Args:
        bundle: folder of the bundle.
        output_dir: of the comparison.
        key: what the results depend on besides the configuration (data, fold).
        variants_file: without one, the bundle as it is is the one method.

    Raises:
        InputError: no such bundle, or a file that is missing.
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
    """Evaluate what is not finished of the cases, and read all results; what fails is told in ``method.failed``.

    Args:
        method: to run.
        names: of the cases.
        options: for the bundle: ``datalist``, ``dataset_dir``, ``fold``, and ``frames`` where only some count.
        client, limits: of ``cardiac_motion.cohort.engine.run_cases``.

    Raises:
        ClusterLost: the scheduler is gone.
    """
    method.read(names)
    left = [name for name in names if name not in method.cases]
    if not left:
        print(f"{method.title}: all {len(names)} cases are finished")
        return
    print(f"{method.title}: {len(left)} of {len(names)} cases to do", flush=True)
    work = bundle_work(method.configs, {**options, "output_dir": str(method.folder.resolve())})
    with hold_folder(method.folder):
        try:
            method.failed = reasons(run_cases(work, left, client, limits, method.title))
        except ClusterLost:
            raise
        except InputError as error:  # of the method, not of a case
            method.failed = dict.fromkeys(left, str(error))
    method.read(names)
    for reason in dict.fromkeys(method.failed.values()):
        print(f"  {sum(r == reason for r in method.failed.values())} of {len(names)} cases failed: {reason}")
