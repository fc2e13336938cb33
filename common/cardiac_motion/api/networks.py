"""Load bundles' networks with their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.core.command import suggest_name
from cardiac_motion.core.errors import InputError


def load(
    bundle: str | Path,
    part: str = "network",
    *,
    config: str | Sequence[str] = (),
    bundles: str | Path | None = None,
    **options: Any,
) -> Any:
    """Load a bundle's network with its weights, ready to infer.

    Args:
        bundle: its name, its folder, or ``owner/name`` of a Hugging Face repository (needs ``huggingface_hub``).
        part: part of the configuration: ``network``, ``inferer``, or ``segment`` and ``classify`` of
            ``strain_pipeline``.
        config: configuration files of the bundle in addition to ``inference.json``, such as ``pwc_net.json``.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.
        **options: override values of the bundle's configuration (``checkpoint="mine.pt"``).

    Returns:
        An ``nn.Module`` in evaluation mode that maps ``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d,
        *S]`` (voxels); or the requested part.

    Raises:
        InputError: the bundle, the part, an option or the weights do not exist.

    Examples:
        >>> import torch
        >>> network = load("cpwc_echo")
        >>> with torch.no_grad():
        ...     ddf = network(torch.rand(1, 2, 64, 64))
        >>> tuple(ddf.shape)
        (1, 2, 64, 64)
    """
    further = [config] if isinstance(config, str) else list(config)
    files = config_files(find_bundle(bundle, bundles), further=further)
    parser = parse_config(files, options)
    if part not in parser:
        known = [key for key, value in parser.config.items() if isinstance(value, dict)]  # type: ignore[union-attr]
        raise InputError(f"{bundle}: no part {part!r}{suggest_name(part, known)}")
    built = content(parser, part)
    return built.eval() if isinstance(built, nn.Module) else built
