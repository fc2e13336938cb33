"""Run a bundle's inference or evaluation case by case, and write the tables of a whole list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from cardiac_motion.bundle.config import content, parse_config
from cardiac_motion.cohort.runner import Work
from cardiac_motion.core import folders
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.run_settings import digest_of
from cardiac_motion.core.tables import metrics_of, pair_rows, statistics_text, write_tables
from cardiac_motion.core.whole_files import write_whole

SCALES = ".scales"  # folder of checkpoints of unfinished cases
SETTINGS = "cohort.json"


def case_names(parser: ConfigParser) -> dict[str, str]:
    """Map the entries of a bundle's data set (``folders.identity``), in order, to the names of their result folders.

    Raises:
        InputError: ``cardiac_motion.core.folders.case_names`` rejects a name.
    """
    dataset = content(parser, "dataset")
    config: Any = parser.config
    method = config["evaluator"].get("method") or Path(str(parser["bundle_root"])).name
    names = folders.case_names(dataset.entries, str(parser["output_dir"]), "" if method.startswith("@") else method)
    return {folders.identity(entry): name for entry, name in zip(dataset.entries, names, strict=True)}


def uses_gpu(parser: ConfigParser) -> bool:
    """Return whether the configuration would use a GPU if there is one."""
    return "cuda" in str(parser["device"])


def bundle_work(files: Sequence[str | Path], options: dict[str, Any]) -> Work:
    """Return the work of a bundle; ``options`` must contain ``output_dir``."""
    arguments = {"files": [str(path) for path in files], "options": options}
    return Work("cardiac_motion.cohort.bundle:open_bundle", arguments, str(Path(options["output_dir"]).resolve()))


def open_bundle(files: Sequence[str], options: dict[str, Any]) -> Callable[[str], None]:
    """Build a bundle's evaluator and return a function that processes the case of a given name.

    Each case starts from the bundle's seed, so its result does not depend on the process or on previous cases.
    """
    import torch
    from monai.utils import set_determinism

    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    if threads:
        torch.set_num_threads(threads)
        if find_spec("cv2") is not None:
            import_extra("cv2", "its threads").setNumThreads(threads)
    parser = parse_config(files, {**options, "mlflow": False})
    content(parser, "initialize")
    evaluator, seed = content(parser, "evaluator"), parser["seed"]
    entries = evaluator.dataset.entries
    path = Path(options["output_dir"]) / SETTINGS
    if path.is_file():
        assigned = json.loads(path.read_text(encoding="utf-8")).get("folders", {})
        evaluator.place([assigned.get(folders.identity(entry), entry["case"]) for entry in entries])
    else:
        evaluator.place()
    index = {str(entry["case"]): i for i, entry in enumerate(entries)}
    checkpoints = evaluator.checkpoints()

    def evaluate_case(name: str) -> None:
        set_determinism(seed)
        if checkpoints is not None:
            evaluator.keep_checkpoints(checkpoints / SCALES / name)
        evaluator.run_case(index[name])
        if checkpoints is not None:
            for folder in (checkpoints / SCALES / name, checkpoints / SCALES):
                with suppress(OSError):  # other cases are running
                    folder.rmdir()

    return evaluate_case


def settings(files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings for ``cohort.json``; runs with equal digests may share a folder."""
    relevant = {key: value for key, value in options.items() if key not in ("output_dir", "datalist")}
    key = json.dumps(relevant, sort_keys=True, default=str)
    parser = parse_config(files, options)
    return {
        "bundle": files[0].parents[1].name,
        **{name: content(parser, name) for name in ("experiment", "preset", "fold") if name in parser},
        "configs": [str(path) for path in files],
        **options,
        "digest": digest_of(files, key),
    }


def result(output_dir: Path, name: str) -> dict[str, Any] | None:
    """Read ``summary.json`` of a case; None if it is not finished."""
    try:
        summary: dict[str, Any] = json.loads((output_dir / name / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return summary


class Pairs:
    """Rows of all frame pairs of the finished cases, read on each iteration because they are too many to store."""

    def __init__(self, output_dir: Path, names: Sequence[str]) -> None:
        self.output_dir, self.names = output_dir, names

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        for name in self.names:
            yield from pair_rows(name, (result(self.output_dir, name) or {}).get("pairs"))


def tables(output_dir: Path, names: Sequence[str], failed: dict[str, str]) -> str:
    """Write ``metrics.csv``, ``pairs.csv`` and ``summary.json`` of the list; return the means as text."""
    summaries = ((name, result(output_dir, name)) for name in names)
    rows = [{"case": name, **metrics_of(summary)} for name, summary in summaries if summary is not None]
    write_tables(output_dir, rows, Pairs(output_dir, names), failed)
    return statistics_text(rows) if rows else ""


def write_settings(
    output_dir: Path, now: dict[str, Any], names: Sequence[str], folder_names: dict[str, str] | None = None
) -> dict[str, Any]:
    """Write ``cohort.json``, or check it against the existing one; return its content.

    ``cases`` keeps its order when the list grows because a case's index is its step in MLflow; ``folders`` maps
    entries to their result folders.

    Raises:
        InputError: the folder contains results of other settings.
    """
    path = output_dir / SETTINGS
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if before and before["digest"] != now["digest"]:
        changed = [k for k, v in now.items() if k not in ("digest", "datalist") and before.get(k) != v] or ["a file"]
        raise InputError(f"{output_dir}: has results of other settings ({', '.join(changed)}); use another folder")
    cases = before.get("cases", [])
    known = set(cases)
    now = {**now, "id": before.get("id", os.urandom(8).hex()), "cases": cases + [n for n in names if n not in known]}
    now["folders"] = {**before.get("folders", {}), **(folder_names or {})}
    with write_whole(path) as beside:
        beside.write_text(json.dumps(now, indent=1, default=str), encoding="utf-8")
    return now
