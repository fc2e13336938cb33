"""One row of the results, and the methods that are compared.

A method is a bundle with configuration files in addition to its ``inference.json``. Each maps ``image [1, 2, *S]``
(moving, fixed) to a pull-back field, so that all are evaluated in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, register


@dataclass(frozen=True)
class BundleMethod:
    """A registration method of the comparison.

    Attributes:
        title: its name in the table.
        bundle: name of its folder in ``bundles/``.
        configs: names of configuration files of the bundle that modify its ``inference.json``.
        options: values of single options that override these files.
        inferer: name of the part of the configuration that registers a pair.
        needs: optional package that it requires; empty if there is none.
    """

    title: str
    bundle: str
    configs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inferer: str = "inferer"
    needs: str = ""

    def load(self, bundles: Path) -> Registration:
        """Build the network and the inferer of the method.

        Args:
            bundles: the folder of the bundles.

        Raises:
            InputError: the bundle does not exist, an option is unknown, or a package is missing.
        """
        files = config_files(bundles / self.bundle, further=self.configs)
        parser = parse_config(files, {"mlflow": False, **self.options})
        return Registration(content(parser, "network"), content(parser, self.inferer))


@dataclass(frozen=True)
class Registration:
    """A method that is ready to run: its network, and the inferer that applies it."""

    network: nn.Module
    inferer: RegistrationInferer

    def run(self, moving: Tensor, fixed: Tensor, mask: Tensor | None = None) -> RegistrationResult:
        """Register a pair.

        Args:
            moving, fixed: images ``[*S]`` in [0, 1].
            mask: ``[*S]`` bool, where the images are compared; None compares them everywhere.

        Returns:
            The result, with the field ``[1, d, *S]`` in pixels (voxels), on the grid of ``fixed``, pulling back.
        """
        image = torch.stack([moving, fixed])[None].float()
        region = torch.ones_like(image[:, :1]).bool() if mask is None else mask[None, None]
        return register(image, self.network, self.inferer, region)


@dataclass(frozen=True)
class Row:
    """A measured value of a method on a pair.

    Attributes:
        data: the data set.
        case: the pair.
        method: title of the method.
        measure: what was measured, with its unit.
        value: the value; None if the method was not run.
        seconds: processor seconds of the registration; None if unknown.
        note: why the method was not run, or where a quoted value comes from.
    """

    data: str
    case: str
    method: str
    measure: str
    value: float | None
    seconds: float | None = None
    note: str = ""


def describe_failure(error: Exception) -> str:
    """Return the first line of an error as the reason why a row is missing.

    Examples:
        >>> describe_failure(ModuleNotFoundError("No module named 'ants'"))
        "No module named 'ants'"
    """
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def load_methods(methods: Sequence[BundleMethod], bundles: Path) -> tuple[dict[str, Registration], dict[str, str]]:
    """Load all methods that can be loaded.

    Returns:
        The methods by title, and the reason for each method that could not be loaded.
    """
    ready, reasons = {}, {}
    for method in methods:
        try:
            ready[method.title] = method.load(bundles)
        except (InputError, ImportError, OSError) as error:
            reasons[method.title] = describe_failure(error)
    return ready, reasons
