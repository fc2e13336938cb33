"""Devices: what is asked for is there, or refused."""

from __future__ import annotations

import pytest
import torch

from cardiac_motion.core.devices import check_device
from cardiac_motion.core.errors import InputError


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_processor_is_always_there(device: object) -> None:
    check_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda:7")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="no GPU" if device != "cuda:7" else "2 GPUs are here"):
        check_device(device)
    if device == "cuda:7":
        check_device("cuda:1")


@pytest.mark.parametrize("device", ["gpu", "cudda", "", 1.5, "meta"])
def test_no_device(device: object) -> None:
    with pytest.raises(InputError, match="device"):
        check_device(device)
