"""Optional dependencies (extras), imported where they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from cardiac_motion.core.errors import InputError, install_error_hook

PACKAGES = {  # module: package, extra
    "ants": ("antspyx", "ants"),
    "pymust": ("pymust", "simulation"),
    "openpiv": ("openpiv", "piv"),
    "picsl_greedy": ("picsl_greedy", "greedy"),
    "convexAdam": ("convexAdam", "convexadam"),
    "fireants": ("fireants", "fireants"),
    "highdicom": ("highdicom", "dicom"),
    "cv2": ("opencv-python-headless", "opencv"),
    "matplotlib": ("matplotlib", "report"),
    "av": ("av", "video"),
    "nrrd": ("pynrrd", "nrrd"),
    "mlflow": ("mlflow", "mlflow"),
    "dask": ("dask", "cluster"),
    "distributed": ("distributed", "cluster"),
    "dask_jobqueue": ("dask-jobqueue", "cluster"),
    "sklearn": ("scikit-learn", "training"),
    "huggingface_hub": ("huggingface_hub", "hub"),
    "shtab": ("shtab", "completion"),
    "itk": ("itk", "itk"),
    "starlette": ("starlette", "workbench"),
    "uvicorn": ("uvicorn", "workbench"),
    "websockets": ("websockets", "workbench"),
}


def import_extra(module: str, need: str) -> ModuleType:
    """Import a module of an optional extra.

    Args:
        module: a key of ``PACKAGES``, or a module inside of it.
        need: what needs it, for the error.

    Raises:
        InputError: it is not installed; the line says how to install it.

    Examples:
        >>> import_extra("matplotlib", "a figure").__name__
        'matplotlib'
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


def require_extra(modules: Sequence[str], need: str) -> None:
    """Import modules of an optional extra that a package can't do without, from its ``__init__``.

    A program that ends because of it (``python -m``) then prints the one line, no traceback.

    Args:
        modules, need: as in ``import_extra``.

    Raises:
        InputError: one is not installed; the line says how to install it.

    Examples:
        >>> require_extra(["matplotlib"], "figures")
    """
    try:
        for module in modules:
            import_extra(module, need)
    except InputError:
        install_error_hook()
        raise


class LazyExtra:
    """A module of an optional extra, imported when something of it is first used.

    Args:
        module, need: as in ``import_extra``, which is what an attribute raises where the module is missing.
        prepare: called before the import.

    Examples:
        >>> LazyExtra("matplotlib.colors", "figures").to_hex("white")
        '#ffffff'
    """

    def __init__(self, module: str, need: str, prepare: Callable[[], None] | None = None) -> None:
        self._module, self._need, self._prepare = module, need, prepare

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._prepare is not None:
            self._prepare()
        value = getattr(import_extra(self._module, self._need), name)
        setattr(self, name, value)
        return value
