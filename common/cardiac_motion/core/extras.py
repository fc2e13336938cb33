"""Packages that only a part of the project needs: its optional extras, each asked for where it is used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from cardiac_motion.core.errors import InputError

PACKAGES = {  # module: package, extra
    "ants": ("antspyx", "ants"),
    "pymust": ("pymust", "simulation"),
    "openpiv": ("openpiv", "piv"),
    "picsl_greedy": ("picsl_greedy", "greedy"),
    "convexAdam": ("convexAdam", "convexadam"),
    "fireants": ("fireants", "fireants"),
    "highdicom": ("highdicom", "dicom"),
    "dask_jobqueue": ("dask-jobqueue", "cluster"),
    "huggingface_hub": ("huggingface_hub", "hub"),
}


def import_extra(module: str, need: str) -> ModuleType:
    """Import a module of an optional extra.

    Args:
        module: a key of ``PACKAGES``, or a module inside of it.
        need: what needs it, for the error.

    Raises:
        InputError: it is not installed; the line says how to install it.
    """
    top = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        package, extra = PACKAGES[top]
        raise InputError(
            f"{need} needs {package}, which is not installed: python -m pip install 'cardiac-motion-bundles[{extra}]'"
        ) from error
