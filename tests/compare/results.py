"""Methods with results, as a comparison reads them."""

import json
from pathlib import Path

import numpy as np

from cardiac_motion.compare.methods import Method


def method(title, dice, failed=None):
    cases = {
        f"c{i}": {
            "dice": d,
            "dice_head": d + 0.01,
            "dice_body": d - 0.01,
            "hd95": 2.0,
            "seconds": 1.5,
            "lncc2@1/8": 0.5,
            "missed": 0.0,
        }
        for i, d in enumerate(dice)
    }
    return Method(title, [], Path(title), cases, failed or {})


GOOD = [0.80, 0.82, 0.85, 0.79, 0.83, 0.81]
WORSE = [0.75, 0.80, 0.81, 0.78, 0.80, 0.76]


def flow(title, epe, lncc2, slope):
    """Cases whose found GLS is ``slope`` times the true one."""
    truth = np.linspace(-25, -8, len(epe))
    cases = {
        f"c{i}": {
            "epe_mm": e,
            "epe_ed_es_mm": 9 * e,
            "lncc2_myocardium": lncc2,
            "gls_true": t,
            "gls_error": (slope - 1) * t,
        }
        for i, (e, t) in enumerate(zip(epe, truth, strict=True))
    }
    return Method(title, [], Path(title), cases)


def write_profiles(method, folder, profile):
    """Give a method's cases a folder each, whose summary has the error along the wall ``profile``, mm."""
    method.folder = folder / method.title
    for name in method.cases:
        (method.folder / name).mkdir(parents=True)
        (method.folder / name / "summary.json").write_text(
            json.dumps({"profile_mm": profile} if profile else {}), encoding="utf-8"
        )
