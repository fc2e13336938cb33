"""Blood flow of a contrast cine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardiac_motion.api.evaluators import make_evaluator, read_only_case
from cardiac_motion.lv_blood_flow.measures import BloodFlow


def blood_flow(path: str | Path, *, bundles: str | Path | None = None, **options: Any) -> BloodFlow:
    """Measure the blood flow of the left ventricle in a contrast cine; nothing is written.

    Args:
        path: a cine that ``read_cine`` can read.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.
        **options: override values of ``nmsr_echo`` with ``blood.json``. They must define the blood pool: by a label map
            of all frames, or by masks at end-diastole and end-systole with their frames.

    Returns:
        Velocities, vorticity, vortices, one row per frame pair, and notes on reliability.

    Raises:
        InputError: the cine cannot be read, or the blood pool is not defined.
    """
    evaluator = make_evaluator("nmsr_echo", path, options, "blood.json", bundles)
    flow: BloodFlow = evaluator.measure_case(read_only_case(evaluator))[2]
    return flow
