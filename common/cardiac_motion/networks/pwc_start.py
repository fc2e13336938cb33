"""Initial weights of a PWC-Net from another one: channels are matched by meaning, not by position.

A network that was trained down to level 3, at a quarter of the cost, can thus be trained further at level 2, and
PWC-Net and EchoPWC-Net can start from c-PWC-Net. A level that the other network lacks starts as a copy of its finest
level, rescaled to its pixels: input flow is multiplied and output flow divided by the ratio of the grids. Weights on
the fixed image's features start at zero there, because the features of another level differ in meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.pwc_net import DILATIONS, PWCNet
from cardiac_motion.networks.weights import read_weights

Channel = tuple[str, int]
_LAST = str(len(DILATIONS))  # index of the flow layer of a contextual sub-network


def estimator_channels(network: PWCNet, level: int, layers: int) -> list[Channel]:
    """Return the channels, in order, after ``layers`` convolutions of a level's estimator.

    Args:
        network: network with densely connected estimators.
        level: level of the pyramid.
        layers: number of the estimator's convolutions that precede.

    Examples:
        >>> network = PWCNet(width=0.1)
        >>> len(estimator_channels(network, 6, 0))
        81
    """
    widths = [int(stage[0][0].out_channels) for stage in network.features]  # type: ignore[index]
    counts = {"cost": (2 * network.radius + 1) ** 2}
    if level < network.levels:
        counts |= {"fixed": widths[level - 1], "flow": 2, "seen": 2}
        if network.propagate:
            counts["coarser"] = widths[level]
    elif network.propagate:
        counts["fixed"] = widths[level - 1]
    names = [(name, k) for name, count in counts.items() for k in range(count)]
    convolutions = network.estimators[str(level)].layers[:layers]  # type: ignore[index]
    for number, layer in enumerate(convolutions):
        names = [(f"convolution {number}", k) for k in range(int(layer[0].out_channels))] + names
    return names


def rearrange(weight: Tensor, have: Sequence[Channel], want: Sequence[Channel], axis: int) -> Tensor:
    """Reorder the input channels of a layer's weight from ``have`` to ``want``; new channels get 0.

    Examples:
        >>> rearrange(torch.tensor([[1.0, 2.0]]), [("a", 0), ("b", 0)], [("b", 0), ("c", 0)], 1).tolist()
        [[2.0, 0.0]]
    """
    position = {channel: k for k, channel in enumerate(have)}
    empty = torch.zeros_like(weight.select(axis, 0))
    return torch.stack([weight.select(axis, position[c]) if c in position else empty for c in want], axis)


def start_weights(network: PWCNet, other: PWCNet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Build a state for ``network`` from the state of ``other``, whose pyramid, estimators and contexts are as wide.

    Raises:
        InputError: the widths differ.

    Examples:
        >>> network = PWCNet(width=0.1)
        >>> state = start_weights(network, network, network.state_dict())
        >>> all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        True
    """
    finest = other.finest
    contexts = sorted(int(k) for k in other.contexts)
    result = {}
    for key, value in network.state_dict().items():
        part, _, rest = key.partition(".")
        if part == "features":
            result[key] = state[key].to(value)
            continue
        name, _, inner = rest.partition(".")
        level = int(name)
        source = max(level, finest)
        if part == "contexts":
            source = source if source in contexts else contexts[0]
        old = state[f"{part}.{source}.{inner}"].to(value)
        networks = (network, level), (other, source)
        if part == "estimators" and value.dim() == 4:
            layers = int(inner.split(".")[1]) if inner.startswith("layers") else _count(network)
            want, have = (estimator_channels(n, k, layers) for n, k in networks)
            old = rearrange(old, have, want, 1)
            old = _rescale_inputs(old, want, source - level, 1)
        elif part == "contexts" and inner == "0.0.weight":
            want, have = (estimator_channels(n, k, _count(network)) for n, k in networks)
            old = rearrange(old, have, want, 1)
            old = _rescale_inputs(old, want, source - level, 1)
        elif part == "ups" and inner == "1.weight":
            want, have = (estimator_channels(n, k + 1, _count(network)) for n, k in networks)
            old = rearrange(old, have, want, 0)
            old = _rescale_inputs(old, want, source - level, 0)
        if inner.startswith("flow.") or (part == "contexts" and inner.split(".")[0] == _LAST):
            old = old / 2 ** (source - level)
        if old.shape != value.shape:
            raise InputError(f"{key}: shapes {tuple(old.shape)} and {tuple(value.shape)}; both widths must be the same")
        result[key] = old
    return result


def _rescale_inputs(weight: Tensor, channels: Sequence[Channel], finer: int, axis: int) -> Tensor:
    """Rescale a layer's weight, inputs along ``axis``, for a level that is ``finer`` levels finer."""
    if not finer:
        return weight
    factor = {"flow": 2.0**finer, "fixed": 0.0}
    factors = weight.new_tensor([factor.get(name, 1.0) for name, _ in channels])
    shape = [1] * weight.dim()
    shape[axis] = -1
    return weight * factors.view(shape)


def start_from(network: PWCNet, other: PWCNet, path: str | Path) -> PWCNet:
    """Initialise ``network`` from the weights of ``other`` in a file.

    Raises:
        InputError: the file is missing, or contains weights of another network.

    Examples:
        >>> import tempfile
        >>> from cardiac_motion.networks.weights import save_weights
        >>> network = PWCNet(width=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(network, f"{folder}/model.pt")
        ...     start_from(network, network, f"{folder}/model.pt") is network
        True
    """
    state = read_weights(path)
    try:
        other.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: contains weights of another network ({str(error).splitlines()[0]})") from error
    network.load_state_dict(start_weights(network, other, state))
    return network


def _count(network: PWCNet) -> int:
    return len(network.estimators[str(network.levels)].layers)  # type: ignore[arg-type]
