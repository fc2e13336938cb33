"""What the workbench's page, server and workers have to agree on; the page is sent it (``page_settings``)."""

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
"""Methods of motion, as the ``motion_<name>.json`` of the strain pipeline, with the titles that a page shows."""

PREVIEW = "dis"
"""The quick method that gives a first curve while the default one is on its way."""

NEEDED = {"greedy": "picsl_greedy", "ants": "ants"}
"""Modules that a method needs beyond the install."""

VOLUME_METHODS = {"ssmsr": "SSMSR", "memberships": "SSMSR, memberships"}
"""Methods of volumes: configurations of ssmsr_hippocampus."""

KINDS = {"cine": "cpwc", "volume": "ssmsr"}
"""Kinds of cases, each with its default method."""

OPTIONS = ("ed", "es", "view", "layer", "exclude_segments", "ignore_checks", "spacing", "frame_rate")
"""Edits of a case that are options of the strain pipeline too."""

ARROWS = 24
"""Pixels between two arrows of a field."""

HANDLES = (3, 15)
"""Handles of a wall, at least and at most."""

MOST_POINTS = 64
"""Points that are followed at once."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""Suffixes of single frames: a folder of them is one cine."""

PICTURE_FOLDER = ".frames"
"""Suffix that stands for a folder of pictures."""

MOST_PICTURES = 5000
"""Pictures of a folder, at most."""

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".mha", ".nrrd", ".mp4", ".avi", ".mov", ".gif", ".tif", ".tiff")
"""Suffixes of the files that are accepted."""


def list_methods() -> dict[str, str]:
    """Those of ``METHODS`` that can be run here."""
    return {name: title for name, title in METHODS.items() if find_spec(NEEDED.get(name, "cardiac_motion")) is not None}


def page_settings() -> dict[str, Any]:
    """All of it, as the page takes it."""
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
    """Digest of the program: what another version measured is measured again, and not shown as this one's."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    for package in ("strain_pipeline", "registration", "fields", "ventricle", "cine", "evaluation", "serving"):
        for path in sorted((root / package).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
