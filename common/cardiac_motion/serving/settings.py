"""What the workbench's page, server and workers have to agree on; the page is sent it (``page_settings``)."""

from __future__ import annotations

from importlib.util import find_spec
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

NEEDED = {"greedy": "picsl_greedy", "ants": "ants"}
"""Modules that a method needs beyond the install."""

VOLUME_METHODS = {"ssmsr": "SSMSR", "memberships": "SSMSR, memberships"}
"""Methods of volumes: configurations of ssmsr_hippocampus."""

KINDS = {"cine": "cpwc", "volume": "ssmsr"}
"""Of cases, with the method that is taken where nobody says which."""

ARROWS = 24
"""Pixels between two arrows of a field."""

HANDLES = (3, 15)
"""Handles of a wall, at least and at most."""

MOST_POINTS = 64
"""Points that are followed at once."""

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".mha", ".nrrd", ".mp4", ".avi", ".mov", ".gif", ".tif", ".tiff")
"""Of files that are taken."""


def list_methods() -> dict[str, str]:
    """Those of ``METHODS`` that can be run here."""
    return {name: title for name, title in METHODS.items() if find_spec(NEEDED.get(name, "cardiac_motion")) is not None}


def page_settings() -> dict[str, Any]:
    """All of it, as the page takes it."""
    return {
        "methods": list_methods() | VOLUME_METHODS,
        "kinds": {"cine": list(list_methods()), "volume": list(VOLUME_METHODS)},
        "views": {name: view.short for name, view in APICAL.items()},
        "layers": list(LAYERS),
        "arrows": ARROWS,
        "handles": [count for count in (5, 7, 9) if HANDLES[0] <= count <= HANDLES[1]],
        "points": MOST_POINTS,
        "colours": list(SEGMENT_COLOURS),
        "suffixes": list(SUFFIXES),
    }
