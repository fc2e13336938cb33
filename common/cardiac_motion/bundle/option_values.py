"""Values of a bundle's options: each has a type and a range, and one that can't be ends in one line that says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cardiac_motion.bundle.options import SIGNS, is_path
from cardiac_motion.core.devices import check_device
from cardiac_motion.core.errors import InputError

FROM_ONE = frozenset(
    (
        *("batch_size", "candidates", "cc_window", "control_spacing", "dilation", "epochs", "filters", "frame_gap"),
        *("frames", "gap", "images_frames", "images_repeat", "iterations", "levels", "n_atlases", "neighbourhood"),
        *("pairs_per_epoch", "recorded_frames", "refined_candidates", "repeats", "segment_stride", "simulated_frames"),
        *("size", "threads", "val_interval", "validation_pairs", "warps", "window"),
    )
)  # whole numbers of which there can't be none
SHARES = frozenset(("dropout", "view_threshold"))  # from 0 to 1
PERCENTAGES = frozenset(("overlap",))  # from 0 to 100
FOR_EACH_SCALE = frozenset(("iterations", "mse_weight", "regularisation_weight", "steps"))  # a number, or one a scale
FRAMES = frozenset(("ed", "es"))  # None, or a frame


def check_values(config: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check the values of options against the type of their defaults and the ranges of their names.

    Args:
        config: merged, without the options.
        given: option to value; ``a#b`` and ``a::b`` are below ``a``. Expressions of MONAI's are left alone.

    Raises:
        InputError: a value of another type, or out of range; or a device that isn't there.

    Examples:
        >>> check_values({"batch_size": 4, "save_figures": True}, {"batch_size": 8, "save_figures": False})
        >>> check_values({"batch_size": 4}, {"batch_size": 0})
        Traceback (most recent call last):
            ...
        cardiac_motion.core.errors.InputError: --batch_size 0: expected a whole number from 1 on
    """
    for name, value in given.items():
        last = name.replace("::", "#").split("#")[-1]
        if isinstance(value, str) and value.startswith(SIGNS):
            continue
        expected = _expected(last, value, _default(config, name))
        if expected:
            shown = repr(value) if value == "" else value
            raise InputError(f"--{name} {shown}: expected {expected}")
        if name == "device" and value is not None:
            check_device(value)


def _default(config: Mapping[str, Any], name: str) -> Any:
    """The default of an option; None where there is none, or it is an expression."""
    node: Any = config
    for part in name.replace("::", "#").split("#"):
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return None if isinstance(node, str) and node.startswith(SIGNS) else node


def _expected(name: str, value: Any, default: Any) -> str | None:
    """What the value of an option should be, where it isn't that."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "True or False"
    if is_path(name) and not _is_number(default):
        values = value if isinstance(value, list | tuple) else [value]
        return "the name of a file or a folder, not an empty one" if "" in values or value == [] else None
    if name == "spacing":
        values = value if isinstance(value, list | tuple) else [value]
        right = value is None or (len(values) in (1, 2) and all(_is_number(v) and v > 0 for v in values))
        return None if right else "mm a pixel, one positive number or two, as in [0.3, 0.3]"
    if name == "frame_rate":
        return None if value is None or (_is_number(value) and value > 0) else "frames a second, a positive number"
    if name in FRAMES:
        return None if value is None or (_is_whole(value) and value >= 0) else "the number of a frame, from 0 on"
    if name in FOR_EACH_SCALE and isinstance(value, list | tuple) and value:
        default, value = default[0] if isinstance(default, list) and default else default, min(value, key=_order)
    if _is_whole(default):
        least = 1 if name in FROM_ONE else 0
        return None if _is_whole(value) and value >= least else f"a whole number from {least} on"
    if _is_number(default):
        most = 1 if name in SHARES else 100 if name in PERCENTAGES else math.inf
        between = f"a number from 0 to {most}" if most < math.inf else "a number from 0 on"
        return None if _is_number(value) and 0 <= value <= most else between
    if isinstance(default, list) and default and all(_is_number(v) for v in default):
        values = value if isinstance(value, list | tuple) else [value] if name in FOR_EACH_SCALE else ["none"]
        right = all(_is_number(v) and v >= 0 for v in values)
        return None if right else "a list of numbers, as in " + str(default).replace(" ", "")
    if isinstance(default, list):
        return None if value is None or isinstance(value, list | tuple) else "a list, as in [a,b]"
    return None


def _order(value: Any) -> float:
    return value if _is_number(value) else -math.inf


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
