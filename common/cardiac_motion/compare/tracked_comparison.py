"""A comparison in MLflow: one parent run with one child per method."""

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
    """Send a parent run with one child per method to MLflow; sending again updates it. Return the parent's id.

    A child has the metrics of each case by step (its index in ``names``) under ``cases/<metric>``, their means, and its
    configuration.

    Raises:
        InputError: the store cannot be reached.
    """
    identifier = record_id(output_dir)
    name = f"{Path(params.get('datalist', output_dir.name)).stem} {params.get('fold', '')}".strip()
    files = [file.name for file in (*sorted(output_dir.glob("table.*")), *sorted(output_dir.glob("*.png")))]
    children = [child(method, f"{identifier}-{method.folder.name}", name, names) for method in methods]
    title = f"{name}, {len(methods)} methods"
    record = Record(identifier, "compare", title, dict(params), files=files, children=children)
    return tracking.send(output_dir, record)


def child(method: Method, identifier: str, name: str, names: Sequence[str] = ()) -> Record:
    """Build the record of one method of a comparison.

    Args:
        method: method with its finished cases.
        identifier: id of the record.
        name: name of the list of cases.
        names: names of all its cases, in order.
    """
    steps = {case: step for step, case in enumerate(names or method.cases)}
    means = statistics([{"case": "", **case} for case in method.cases.values()])
    return Record(
        identifier,
        "compare",
        run_name(method.title, name),
        {"configs": " ".join(map(str, method.configs))},
        {"list": name, "method": method.title, "failed": json.dumps(method.failed)[:4000]},
        {key: column["mean"] for key, column in means.items()},
        len(method.cases),
        {case: rows_of(metrics, steps[case], "cases") for case, metrics in method.cases.items()},
        failed=bool(method.failed),
    )
