"""One row of the results, and the methods that are compared.

A method is a bundle with configuration files in addition to its ``inference.json``. Each maps ``image [1, 2, *S]``
(moving, fixed) to a pull-back field, so that all are evaluated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


def register_pairs(
    methods: Iterable[tuple[str, Registration]],
    pairs: Sequence[tuple[Tensor, Tensor]],
    row: Row,
    failed: list[Row],
    reasons: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, list[RegistrationResult]]]:
    """Register pairs by each method, and yield its title and the results.

    Args:
        methods: titles and methods.
        pairs: moving and fixed images ``[*S]`` in [0, 1].
        row: data, case and measure of the rows of ``failed``.
        failed: list to which a row with the reason is added for each method that cannot register the pairs.
        reasons: by title, why other methods cannot be run; their rows are added last.

    Examples:
        >>> failed, row = [], Row("CAMUS", "a", "", "Dice", None)
        >>> list(register_pairs([], [], row, failed, {"ANTs": "No module named 'ants'"}))
        []
        >>> [(row.method, row.note) for row in failed]
        [('ANTs', "No module named 'ants'")]
    """
    for title, method in methods:
        try:
            results = [method.run(moving, fixed) for moving, fixed in pairs]
        except (InputError, ImportError, ValueError, RuntimeError) as error:
            failed.append(replace(row, method=title, note=describe_failure(error)))
            continue
        yield title, results
    failed += [replace(row, method=title, note=why) for title, why in (reasons or {}).items()]


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
