"""Weights of networks on disk: stored in half precision, read without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole


@runtime_checkable
class Wraps(Protocol):
    """A wrapper that holds a network as its ``module``: ``DistributedDataParallel``, ``AveragedModel``."""

    module: nn.Module


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside a wrapper, or the network itself.

    Examples:
        >>> network = nn.Identity()
        >>> unwrap(nn.DataParallel(network)) is unwrap(network) is network
        True
    """
    return network.module if isinstance(network, Wraps) else network


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write the state of ``network`` (unwrapped if a ``DistributedDataParallel``), floating-point values as fp16.

    Raises:
        InputError: the file can't be written, or the disk is full; one that was there is left as it was.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(nn.Linear(2, 1), f"{folder}/model.pt")
        ...     {name: (tuple(x.shape), x.dtype) for name, x in read_weights(f"{folder}/model.pt").items()}
        {'weight': ((1, 2), torch.float16), 'bias': ((1,), torch.float16)}
    """
    state = unwrap(network).state_dict()
    half = {k: (v.half() if v.is_floating_point() else v).cpu() for k, v in state.items()}
    with write_whole(path) as beside:
        torch.save(half, beside)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the state that ``save_weights`` wrote.

    Raises:
        InputError: the file is missing or cannot be read as weights.

    Examples:
        >>> read_weights("nothing.pt")
        Traceback (most recent call last):
        cardiac_motion.core.errors.InputError: nothing.pt: no such weights; train them with the bundle's train.json
    """
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights; train them with the bundle's train.json") from error
    except Exception as error:
        raise InputError(f"{path}: cannot be read as weights ({str(error).splitlines()[0]})") from error
    return state


def load_weights(network: nn.Module, path: str | Path | None, device: torch.device | str | None = None) -> nn.Module:
    """Load weights from ``path`` into ``network`` (None leaves it as it is), in the network's own precision.

    Args:
        network: the network.
        path: file that ``save_weights`` wrote.
        device: device to move the network to; None leaves it where it is.

    Raises:
        InputError: the file is missing, is not a file of weights, or contains weights of another network.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(nn.Conv2d(2, 2, 3), f"{folder}/model.pt")
        ...     network = load_weights(nn.Conv2d(2, 2, 3), f"{folder}/model.pt")
        >>> next(network.parameters()).dtype
        torch.float32
    """
    if path is None:
        return network.to(device)
    state = read_weights(path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: contains weights of another network ({str(error).splitlines()[0]})") from error
    return network.to(device)


def require_weights(path: str | Path | None, config: str = "train.json", option: str = "--checkpoint") -> None:
    """Raise InputError for a network without trained weights.

    Args:
        path: file of the weights, or None.
        config: the bundle's configuration that trains them.
        option: command-line option that names them.

    Raises:
        InputError: ``path`` is None.

    Examples:
        >>> require_weights(None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cardiac_motion.core.errors.InputError: no weights: train them with the bundle's train.json and name them ...
    """
    if path is None:
        raise InputError(f"no weights: train them with the bundle's {config} and name them with {option} FILE")
