"""Settings shared by the workbench's page, server and workers; the page receives them (``page_settings``)."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cardiac_motion.strain_pipeline.report.html import SEGMENT_COLOURS
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import APICAL

METHODS = {
    "cpwc": "NCC flow",
    "farneback": "Farnebäck",
    "dis": "DIS",
    "nmsr": "NMSR",
    "greedy": "greedy",
    "ants": "ANTs quick",
}
"""Motion methods, named as the strain pipeline's ``motion_<name>.json``, with the titles that the page shows."""

PREVIEW = "dis"
"""Fast method for a first curve while the default method is running."""

NEEDED = {"greedy": "picsl_greedy", "ants": "ants"}
"""Optional modules that a method needs."""

VOLUME_METHODS = {"ssmsr": "SSMSR", "memberships": "SSMSR, memberships"}
"""Methods for volumes: configurations of ssmsr_hippocampus."""

KINDS = {"cine": "cpwc", "volume": "ssmsr"}
"""Kinds of cases, each with its default method."""

OPTIONS = ("ed", "es", "view", "layer", "exclude_segments", "ignore_checks", "spacing", "frame_rate")
"""Edits of a case that are also options of the strain pipeline."""

ARROWS = 24
"""Distance between two arrows of a field, pixels."""

HANDLES = (3, 15)
"""Minimum and maximum number of handles of a wall."""

MOST_POINTS = 64
"""Maximum number of points tracked at once."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""Suffixes of single frames; a folder of them is one cine."""

PICTURE_FOLDER = ".frames"
"""Suffix that stands for a folder of single frames."""

MOST_PICTURES = 5000
"""Maximum number of files in a folder of single frames."""

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".mha", ".nrrd", ".mp4", ".avi", ".mov", ".gif", ".tif", ".tiff")
"""Suffixes of the accepted files."""


def list_methods() -> dict[str, str]:
    """Return the ``METHODS`` that are installed."""
    return {name: title for name, title in METHODS.items() if find_spec(NEEDED.get(name, "cardiac_motion")) is not None}


def page_settings() -> dict[str, Any]:
    """Return the settings as sent to the page."""
    return {
        "methods": list_methods() | VOLUME_METHODS,
        "kinds": {"cine": list(list_methods()), "volume": list(VOLUME_METHODS)},
        "defaults": KINDS,
        "preview": PREVIEW,
        "views": {name: view.short for name, view in APICAL.items()},
        "layers": list(LAYERS),
        "arrows": ARROWS,
        "handles": [count for count in (5, 7, 9) if HANDLES[0] <= count <= HANDLES[1]],
        "points": MOST_POINTS,
        "colours": list(SEGMENT_COLOURS),
        "suffixes": list(SUFFIXES),
        "pictures": list(PICTURES),
    }


@cache
def code_stamp() -> str:
    """Return a digest of the program: results of another version are measured again instead of shown."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for package in ("strain_pipeline", "registration", "fields", "ventricle", "cine", "evaluation", "serving"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
