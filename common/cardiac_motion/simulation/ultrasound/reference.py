"""Simulation by PyMUST (Garcia 2022, 10.1016/j.cmpb.2022.106726), the physical simulator of the paper.

``simus`` computes the radio-frequency signals of a phased array, ``rf2iq`` demodulates and ``dasmtx`` beamforms them. A
transmit event takes seconds, so this is for validation and for a few frames. Needs the extra ``simulation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.core.extras import import_extra
from cardiac_motion.simulation.ultrasound.image import SPEED_OF_SOUND, Probe

_THRESHOLD = -60.0  # dB: weaker frequencies of the pulse are omitted


def pymust_echoes(
    points: Tensor,
    amplitudes: Tensor,
    probe: Probe,
    ranges: Tensor,
    sines: Tensor,
    tilts: Sequence[float] = (0.0,),
    progress: bool = False,
) -> Tensor:
    """Return beamformed complex echoes of scatterers on a polar grid.

    Without a focus (``probe.focus`` None), one diverging wave per tilt insonifies the sector and the results are added;
    with a focus, each column of the grid has its own focused transmit.

    Args:
        points: [N, 2] in mm (depth, lateral).
        amplitudes: [N].
        probe: probe.
        ranges: [R] in mm.
        sines: [U] of the steering angle.
        tilts: tilts of the diverging waves, degrees.
        progress: show a progress bar.

    Returns:
        [R, U] complex64.

    Raises:
        InputError: PyMUST is not installed.
    """
    pymust = import_extra("pymust", "the reference simulation")
    depth, lateral = (points[:, k].double().cpu().numpy() * 1e-3 for k in (0, 1))
    coefficients = amplitudes.double().cpu().numpy()
    param = _parameters(pymust, probe)
    options = pymust.utils.Options()
    options.dBThresh = _THRESHOLD
    distance = ranges.double().cpu().numpy()[:, None] * 1e-3
    sine = sines.double().cpu().numpy()[None]
    x, z = distance * sine, distance * np.sqrt(1 - sine**2)
    if probe.focus is None:
        width = math.radians(probe.width)
        events = [(pymust.txdelayCircular(param, math.radians(t), width), slice(None)) for t in tilts]
    else:
        events = [
            (
                pymust.txdelayFocused(param, probe.focus * 1e-3 * s, probe.focus * 1e-3 * math.sqrt(1 - s**2)),
                slice(k, k + 1),
            )
            for k, s in enumerate(sine[0])
        ]
    echoes = np.zeros(x.shape, dtype=np.complex64)
    for delays, columns in tqdm(events, desc="transmits", disable=not progress):
        param = _parameters(pymust, probe)  # PyMUST stores a transmit's delays in it
        signals, _ = pymust.simus(lateral, depth, coefficients, delays, param, options)
        iq = pymust.rf2iq(signals, param.fs, param.fc)
        iq = iq[0] if isinstance(iq, tuple) else iq
        matrix = pymust.dasmtx(iq, x[:, columns], z[:, columns], delays, param)
        echoes[:, columns] += pymust.utils.applyDasMTX(matrix, iq, x[:, columns].shape)
    return torch.from_numpy(echoes)


def _parameters(pymust: Any, probe: Probe) -> Any:
    param = pymust.utils.Param()
    param.fc = probe.frequency
    param.pitch = probe.pitch * 1e-3
    param.width = 0.9 * param.pitch
    param.kerf = param.pitch - param.width
    param.Nelements = probe.elements
    param.bandwidth = probe.bandwidth
    param.radius = np.inf
    param.TXnow = probe.cycles
    param.fs = 4 * probe.frequency
    param.c = SPEED_OF_SOUND * 1e-3
    param.fnumber = probe.f_number
    return param
