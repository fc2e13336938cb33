"""Start weights of a PWC-Net from those of another: by what each channel means, not by where it stands.

So a network that was trained down to level 3, at a quarter of the cost, goes on at level 2, and PWC-Net and EchoPWC-Net
go on from c-PWC-Net. A level that the other network lacks starts as a copy of its finest level, rescaled to
its own pixels: input flow is multiplied and output flow divided by the ratio of the grids. Its weights on the fixed
image's features start at zero, because the channels of another level mean something else.
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
_LAST = str(len(DILATIONS))  # of a contextual sub-network: the layer that gives flow


def estimator_channels(network: PWCNet, level: int, layers: int) -> list[Channel]:
    """Describe the channels that follow ``layers`` convolutions of a level's estimator, in order.

    Args:
        network: of skip-concatenated estimators.
        level: of the pyramid.
        layers: how many of the estimator's convolutions were done.
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
    """Reorder the inputs of a layer's weight; inputs that it never had get 0.

    Examples:
        >>> rearrange(torch.tensor([[1.0, 2.0]]), [("a", 0), ("b", 0)], [("b", 0), ("c", 0)], 1).tolist()
        [[2.0, 0.0]]
    """
    place = {channel: k for k, channel in enumerate(have)}
    empty = torch.zeros_like(weight.select(axis, 0))
    return torch.stack([weight.select(axis, place[c]) if c in place else empty for c in want], axis)


def start_weights(network: PWCNet, other: PWCNet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state for ``network`` from that of ``other``, whose pyramid, estimators and contexts are as wide.

    Raises:
        InputError: their widths differ.
    """
    finest = other.finest
    contexts = sorted(int(k) for k in other.contexts)
    made = {}
    for key, value in network.state_dict().items():
        part, _, rest = key.partition(".")
        if part == "features":
            made[key] = state[key].to(value)
            continue
        name, _, inner = rest.partition(".")
        level = int(name)
        source = max(level, finest)
        if part == "contexts":
            source = source if source in contexts else contexts[0]
        old = state[f"{part}.{source}.{inner}"].to(value)
        where = (network, level), (other, source)
        if part == "estimators" and value.dim() == 4:
            layers = int(inner.split(".")[1]) if inner.startswith("layers") else _count(network)
            want, have = (estimator_channels(n, k, layers) for n, k in where)
            old = rearrange(old, have, want, 1)
            old = _rescale_inputs(old, want, source - level, 1)
        elif part == "contexts" and inner == "0.0.weight":
            want, have = (estimator_channels(n, k, _count(network)) for n, k in where)
            old = rearrange(old, have, want, 1)
            old = _rescale_inputs(old, want, source - level, 1)
        elif part == "ups" and inner == "1.weight":
            want, have = (estimator_channels(n, k + 1, _count(network)) for n, k in where)
            old = rearrange(old, have, want, 0)
            old = _rescale_inputs(old, want, source - level, 0)
        if inner.startswith("flow.") or (part == "contexts" and inner.split(".")[0] == _LAST):
            old = old / 2 ** (source - level)
        if old.shape != value.shape:
            raise InputError(f"{key}: {tuple(old.shape)} there, {tuple(value.shape)} here; the widths must be the same")
        made[key] = old
    return made


def _rescale_inputs(weight: Tensor, channels: Sequence[Channel], finer: int, axis: int) -> Tensor:
    """Rescale a layer's weight, inputs along ``axis``, to a level that is ``finer`` levels finer."""
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
        InputError: no such file, or another network's.
    """
    state = read_weights(path)
    try:
        other.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: these are weights of another network ({str(error).splitlines()[0]})") from error
    network.load_state_dict(start_weights(network, other, state))
    return network


def _count(network: PWCNet) -> int:
    return len(network.estimators[str(network.levels)].layers)  # type: ignore[arg-type]
