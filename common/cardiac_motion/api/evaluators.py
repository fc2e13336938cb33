"""Build a bundle's evaluator for one file, without recording or writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.core.errors import InputError


def make_evaluator(
    bundle: str,
    path: str | Path | Sequence[str | Path] | None,
    options: dict[str, Any],
    config: str | Sequence[str] = (),
    bundles: str | Path | None = None,
) -> Any:
    """Build a bundle's evaluator with its parts.

    Args:
        bundle: name of the bundle.
        path: path of the input; None uses the bundle's built-in one.
        options: override values of the configuration.
        config: configuration files in addition to ``inference.json``.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.

    Raises:
        InputError: the bundle, an option or the input cannot be used.
    """
    given = path is None or isinstance(path, str | Path)
    source = path if path is None else str(path) if given else [str(file) for file in path]  # type: ignore[union-attr]
    further = [config] if isinstance(config, str) else list(config)
    files = config_files(find_bundle(bundle, bundles), further=further)
    return content(
        parse_config(files, {"input": source, "mlflow": False, "save_figures": False, **options}), "evaluator"
    )


def read_only_case(evaluator: Any) -> Any:
    """Return the only case of an evaluator's data set.

    Raises:
        InputError: there are several cases, or it cannot be read.
    """
    if len(evaluator.dataset) != 1:
        names = ", ".join(str(entry["case"]) for entry in evaluator.dataset.entries[:5])
        raise InputError(f"{len(evaluator.dataset)} cases ({names}); expected one")
    return evaluator.dataset[0]
