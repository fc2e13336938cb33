"""The convolution model against PyMUST on the same scatterers."""

import importlib.util
import math

import numpy as np
import pytest
import torch

from cardiac_motion.simulation.ultrasound.image import Probe, Scanner
from cardiac_motion.simulation.ultrasound.reference import pymust_echoes

needs_pymust = pytest.mark.skipif(importlib.util.find_spec("pymust") is None, reason="needs PyMUST")
NEAR, FAR, SIDE = 44.0, 66.0, 0.25  # mm, mm, sine: the region that is compared


def patch(number, seed=0, side=SIDE + 0.05):
    """Uniform scatterers around the region, and their density."""
    generator = torch.Generator().manual_seed(seed)
    near, far = NEAR - 2, FAR + 2
    distance = torch.sqrt(torch.rand(number, generator=generator) * (far**2 - near**2) + near**2)
    sine = (torch.rand(number, generator=generator) * 2 - 1) * side
    points = torch.stack([distance * torch.sqrt(1 - sine**2), distance * sine], dim=1)
    density = number / ((far**2 - near**2) * math.asin(side))
    return points, torch.randn(number, generator=generator), density


def both(points, amplitudes, density, probe, side=SIDE):
    """Echoes of the region by PyMUST and by the model, and the region's steps in mm and sine."""
    scanner = Scanner(probe)
    rows = (scanner.ranges > NEAR) & (scanner.ranges < FAR)
    columns = scanner.sines.abs() < side
    reference = pymust_echoes(points, amplitudes, probe, scanner.ranges[rows], scanner.sines[columns])
    return reference, scanner.echoes(points[None], amplitudes, density)[0][rows][:, columns]


def speckle_size(envelope):
    """Full width at half height of an envelope's autocovariance along rows and columns, in samples.

    Args:
        envelope: [R, U] of uniform scatterers.
    """
    centred = envelope.double() - envelope.double().mean()
    padded = [2 * n for n in envelope.shape]
    covariance, overlap = (
        torch.fft.irfft2(torch.fft.rfft2(x, s=padded).abs() ** 2, s=padded) for x in (centred, torch.ones_like(centred))
    )
    covariance = covariance / overlap.clamp_min(0.5)
    found = []
    for line in (covariance[: envelope.shape[0] // 2, 0], covariance[0, : envelope.shape[1] // 2]):
        line = line / line[0]
        first = int((line < 0.5).double().argmax())
        found.append(2 * (first - 1 + float((line[first - 1] - 0.5) / (line[first - 1] - line[first]))))
    return found[0], found[1]


def test_speckle_size_is_the_width_of_the_autocovariance():
    noise = np.random.default_rng(0).standard_normal((400, 400))
    smooth = np.fft.ifft2(
        np.fft.fft2(noise) * np.exp(-2 * (np.pi * np.fft.fftfreq(400)[:, None] * 3) ** 2)
        * np.exp(-2 * (np.pi * np.fft.fftfreq(400)[None] * 5) ** 2)
    ).real  # fmt: skip
    found = speckle_size(torch.as_tensor(smooth))
    expected = 2 * math.sqrt(2 * math.log(2)) * math.sqrt(2)
    assert found == pytest.approx((3 * expected, 5 * expected), rel=0.1)


@needs_pymust
@pytest.mark.slow
@pytest.mark.parametrize("focus", [None, 55.0], ids=["diverging", "focused"])
def test_speckle_is_that_of_the_physical_simulator(focus):
    probe = Probe(depth=80.0, focus=focus)
    side = SIDE if focus is None else 0.12
    points, amplitudes, density = patch(18_000 if focus is None else 9000, side=side + 0.05)
    echoes = both(points, amplitudes, density, probe, side)
    sizes = [speckle_size(e.abs()) for e in echoes]
    assert sizes[1][0] == pytest.approx(sizes[0][0], rel=0.15)
    assert sizes[1][1] == pytest.approx(sizes[0][1], rel=0.15)
    if focus is None:
        for echo in echoes:
            envelope = echo.abs()
            assert float(envelope.mean() / envelope.std()) == pytest.approx(1.91, abs=0.1)
    alike = torch.corrcoef(torch.stack([e.abs().flatten() for e in echoes]))[0, 1]
    assert alike > (0.7 if focus is None else 0.85)


@needs_pymust
@pytest.mark.slow
def test_strain_decorrelates_speckle_as_in_the_physical_simulator():
    probe = Probe(depth=80.0, focus=None)
    points, amplitudes, density = patch(18_000)
    middle = (NEAR + FAR) / 2
    before = both(points, amplitudes, density, probe)
    found = []
    for strain in (0.01, 0.03, 0.06):
        squeezed = torch.stack([middle + (points[:, 0] - middle) * (1 - strain), points[:, 1]], dim=1)
        found.append(
            [decorrelation(*e, strain) for e in zip(before, both(squeezed, amplitudes, density, probe), strict=True)]
        )
    reference, model = np.array(found).T
    assert (np.diff(reference) < 0).all() and (np.diff(model) < 0).all()
    np.testing.assert_allclose(model, reference, atol=0.12)


def decorrelation(before, after, strain):
    """Mean correlation of short envelope segments around the middle of the beam, each at its best shift."""
    before, after = before.abs().numpy(), after.abs().numpy()
    length, columns = 24, slice(before.shape[1] // 2 - 8, before.shape[1] // 2 + 8)
    found = []
    for start in range(20, len(before) - 20 - length, 12):
        segment = before[start : start + length, columns].ravel()
        moved = [
            np.corrcoef(segment, after[s : s + length, columns].ravel())[0, 1]
            for s in range(max(0, start - 14), min(len(after) - length, start + 15))
        ]
        found.append(max(moved))
    return float(np.mean(found))
