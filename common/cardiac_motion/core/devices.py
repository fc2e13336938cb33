"""Device checks: a missing device is an error, never silently replaced by the CPU."""

from __future__ import annotations

from typing import Any

from cardiac_motion.core.errors import InputError


def check_device(device: Any) -> None:
    """Raise InputError if a device is not available.

    Args:
        device: a name (``cpu``, ``cuda``, ``cuda:1``, ``mps``) or a ``torch.device``.

    Raises:
        InputError: it is no device, or this machine, or this build of PyTorch, has none.

    Examples:
        >>> check_device("cpu")
    """
    import torch

    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device {device}: no such device; cpu, cuda or cuda:0, say") from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            there = f"{count} GPUs are here" if count else "there is no GPU that this PyTorch can use"
            raise InputError(f"device {device}: {there}; take cpu")
    elif found.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {device}: this machine has none; take cpu")
    elif found.type not in ("cpu", "cuda", "mps", "xpu", "hpu", "xla"):
        raise InputError(f"device {device}: nothing can be computed there; take cpu")
