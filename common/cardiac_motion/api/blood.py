"""Blood flow of a contrast cine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardiac_motion.api.evaluators import make_evaluator, read_only_case
from cardiac_motion.lv_blood_flow.measures import BloodFlow


def blood_flow(path: str | Path, *, bundles: str | Path | None = None, **options: Any) -> BloodFlow:
    """Measure the blood flow of the left ventricle in a contrast cine; nothing is written.

    Args:
        path: what ``read_cine`` reads.
        bundles: folder that holds bundles; None looks where ``find_bundle`` does.
        **options: of ``nmsr_echo`` with ``blood.json``, over its values. Where the blood is has to be said: by a label
            map of all frames, or by masks at end-diastole and end-systole with their frames.

    Returns:
        velocities, vorticity, vortices, a row a frame pair, and notes that a reader must know.

    Raises:
        InputError: the cine can't be read, or nothing says where the blood is.
    """
    evaluator = make_evaluator("nmsr_echo", path, options, "blood.json", bundles)
    flow: BloodFlow = evaluator.measure_case(read_only_case(evaluator))[2]
    return flow
