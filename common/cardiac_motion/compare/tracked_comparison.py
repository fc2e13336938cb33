"""A comparison in MLflow: one parent run with a child a method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.compare.methods import Method
from cardiac_motion.core import tracking
from cardiac_motion.core.tables import statistics
from cardiac_motion.core.tracking import Record, record_id, rows_of, run_name


def send(methods: Sequence[Method], output_dir: Path, params: dict[str, Any], names: Sequence[str] = ()) -> str:
    """One parent run with a child a method in MLflow; what is sent again is one to the store. Returns the parent's id.

    A child has the metrics of each case by step (its place in ``names``) under ``cases/<metric>``, their means, and its
    configuration.

    Raises:
        InputError: the store can't be reached.
    """
    own = record_id(output_dir)
    name = f"{Path(params.get('datalist', output_dir.name)).stem} {params.get('fold', '')}".strip()
    files = [file.name for file in (*sorted(output_dir.glob("table.*")), *sorted(output_dir.glob("*.png")))]
    children = [child(method, f"{own}-{method.folder.name}", name, names) for method in methods]
    record = Record(own, "compare", f"{name}, {len(methods)} methods", dict(params), files=files, children=children)
    return tracking.send(output_dir, record)


def child(method: Method, own: str, name: str, names: Sequence[str] = ()) -> Record:
    """The record of one method of a comparison.

    Args:
        method: with the cases that are finished.
        own: id of the record.
        name: of the list of cases.
        names: of all its cases, in order.
    """
    steps = {case: step for step, case in enumerate(names or method.cases)}
    means = statistics([{"case": "", **case} for case in method.cases.values()])
    return Record(
        own,
        "compare",
        run_name(method.title, name),
        {"configs": " ".join(map(str, method.configs))},
        {"list": name, "method": method.title, "failed": json.dumps(method.failed)[:4000]},
        {key: found["mean"] for key, found in means.items()},
        len(method.cases),
        {case: rows_of(metrics, steps[case], "cases") for case, metrics in method.cases.items()},
        failed=bool(method.failed),
    )
