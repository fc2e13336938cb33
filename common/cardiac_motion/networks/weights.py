"""Weights of networks on disk: kept in half precision, read without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole


@runtime_checkable
class Wraps(Protocol):
    """What holds a network as its ``module``: ``DistributedDataParallel``, ``AveragedModel``."""

    module: nn.Module


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network itself, of what wraps it.

    Examples:
        >>> network = nn.Identity()
        >>> unwrap(nn.DataParallel(network)) is unwrap(network) is network
        True
    """
    return network.module if isinstance(network, Wraps) else network


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write the state of ``network`` (of what a ``DistributedDataParallel`` wraps), floating point in fp16."""
    state = unwrap(network).state_dict()
    half = {k: (v.half() if v.is_floating_point() else v).cpu() for k, v in state.items()}
    with write_whole(path) as beside:
        torch.save(half, beside)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the state that ``save_weights`` wrote.

    Raises:
        InputError: no such file, or no weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights; train them with the bundle's train.json") from error
    except Exception as error:
        raise InputError(f"{path}: no readable weights ({str(error).splitlines()[0]})") from error
    return state


def load_weights(network: nn.Module, path: str | Path | None, device: torch.device | str | None = None) -> nn.Module:
    """``network`` with the weights of ``path`` (None leaves it as it is), in the network's own precision.

    Args:
        network: of any weights.
        path: of what ``save_weights`` wrote.
        device: to bring it to; None leaves it where it is.

    Raises:
        InputError: no such file, no weights, or those of another network.
    """
    if path is None:
        return network.to(device)
    state = read_weights(path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: these are weights of another network ({str(error).splitlines()[0]})") from error
    return network.to(device)


def require_weights(path: str | Path | None, config: str = "train.json", option: str = "--checkpoint") -> None:
    """Raise InputError for a network without trained weights.

    Args:
        path: of the weights.
        config: of the bundle, that trains them.
        option: that names them on the command line.

    Raises:
        InputError: no weights are named.
    """
    if path is None:
        raise InputError(f"no weights: train them with the bundle's {config} and name them with {option} FILE")
