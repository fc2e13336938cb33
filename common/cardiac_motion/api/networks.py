"""Networks and their weights by a bundle's name."""

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
        part: another part of the configuration: ``inferer``, or ``segment`` and ``classify`` of ``strain_pipeline``.
        config: configuration files of the bundle beyond ``inference.json``: ``pwc_net.json``.
        bundles: folder that holds bundles; None looks where ``find_bundle`` does.
        **options: of the bundle's configuration, over its values (``checkpoint="mine.pt"``).

    Returns:
        ``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` (voxels), an ``nn.Module`` in evaluation
        mode; or the part that was asked for.

    Raises:
        InputError: the bundle, the part, an option or the weights are not there.

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
        raise InputError(f"{bundle}: has no part {part!r}{suggest_name(part, known)}")
    found = content(parser, part)
    return found.eval() if isinstance(found, nn.Module) else found
