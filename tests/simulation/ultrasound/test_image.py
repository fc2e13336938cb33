import math

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.ultrasound.image import PROBES, Probe, Scanner

PROBE = Probe(depth=80.0, width=60.0, focus=50.0)


@pytest.fixture(scope="module")
def scanner():
    return Scanner(PROBE)


def uniform(scanner, per_square_wavelength, seed=0):
    """Scatterers over the sector and a little more, and their density."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([scanner.probe.depth + 4, 1.3 * scanner.probe.depth])
    density = per_square_wavelength / scanner.probe.wavelength**2
    number = int(density * float(size.prod()))
    points = torch.rand(number, 2, generator=generator) * size - torch.tensor([0, float(size[1]) / 2])
    return points[None], torch.randn(number, generator=generator), density


@pytest.fixture(scope="module")
def speckle(scanner):
    return scanner.echoes(*uniform(scanner, 12))[0]


def test_uniform_scatterers_make_fully_developed_speckle_of_unit_power_at_every_depth(scanner, speckle):
    columns = scanner.sines.abs() < 0.4
    for low, high in ((15, 35), (35, 55), (55, 75)):
        envelope = speckle[(scanner.ranges > low) & (scanner.ranges < high)][:, columns].abs()
        assert float(envelope.square().mean()) == pytest.approx(1.0, abs=0.12)
    envelope = speckle[(scanner.ranges > 15) & (scanner.ranges < 75)][:, columns].abs()
    assert float(envelope.mean() / envelope.std()) == pytest.approx(1.91, abs=0.1)


@pytest.mark.parametrize("place", [(50.0, 0.0), (40.0, 15.0), (65.0, -20.0)])
def test_a_point_is_seen_where_it_is(scanner, place):
    frame = scanner.image(scanner.echoes(torch.tensor([[place]]), torch.full((1,), 0.5), 1.0))[0]
    row, column = divmod(int(frame.argmax()), frame.shape[1])
    expected = scanner.grid.to_pixels(torch.tensor(place))
    assert abs(row - expected[0]) <= 1 and abs(column - expected[1]) <= 1.5


def width_at_half(profile, step):
    half = profile.max() / 2
    above = torch.nonzero(profile > half)[:, 0]
    first, last = int(above[0]), int(above[-1])
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float((right - left) * step)


def test_point_spread_is_that_of_the_pulse_and_of_the_aperture(scanner):
    echo = scanner.echoes(torch.tensor([[[50.0, 0.0]]]), torch.ones(1), 1.0)[0].abs()
    row, column = divmod(int(echo.argmax()), echo.shape[1])
    offsets = np.linspace(-3, 3, 4001)
    frequency = np.linspace(0.2, 1.8, 801) * PROBE.frequency
    phase = np.exp(4j * np.pi * np.outer(offsets, frequency - PROBE.frequency) / 1540e3)
    pulse = torch.as_tensor(np.abs(phase @ PROBE.spectrum(frequency)))
    axial = width_at_half(echo[:, column], scanner.ranges[1] - scanner.ranges[0])
    assert axial == pytest.approx(width_at_half(pulse, offsets[1] - offsets[0]), rel=0.1)
    lateral = width_at_half(echo[row], scanner.sines[1] - scanner.sines[0])
    assert lateral == pytest.approx(0.886 * PROBE.wavelength / PROBE.aperture, rel=0.12)


def test_the_beam_widens_away_from_the_transmit_focus(scanner):
    def lateral(depth):
        echo = scanner.echoes(torch.tensor([[[depth, 0.0]]]), torch.ones(1), 1.0)[0].abs()
        row = int(echo.amax(1).argmax())
        return width_at_half(echo[row], scanner.sines[1] - scanner.sines[0])

    assert lateral(25.0) > 1.15 * lateral(50.0)


def test_a_shift_along_the_beam_turns_the_phase_and_keeps_the_envelope(scanner):
    shifts = torch.linspace(0, 0.3, 13)
    places = torch.stack([50 + shifts, torch.zeros(13)], dim=1)[:, None]
    echoes = scanner.echoes(places, torch.ones(1), 1.0)
    peaks = echoes.abs().amax((1, 2))
    assert peaks.max() / peaks.min() < 1.1
    energy = echoes.abs().square().sum((1, 2))
    assert energy.max() / energy.min() < 1.05
    row, column = divmod(int(echoes[0].abs().argmax()), echoes.shape[2])
    turned = np.unwrap(torch.angle(echoes[:, row, column]).numpy())
    np.testing.assert_allclose(turned - turned[0], -4 * math.pi / PROBE.wavelength * shifts, atol=0.25)


def test_six_decibels_brighten_by_their_share_of_the_dynamic_range(scanner, speckle):
    before, after = scanner.image(torch.stack([0.05 * speckle, 0.1 * speckle]))
    lit = (before > 0.1) & (after < 0.95)
    assert lit.sum() > 1000
    assert float((after - before)[lit].mean()) == pytest.approx(20 * math.log10(2) / PROBE.dynamic_range, abs=2e-3)


def test_the_gain_curve_adds_at_its_depths(speckle):
    flat, steep = (Scanner(PROBE.replace(gain_curve=c, smoothing=0.0)) for c in ((0.0, 0.0), (-10.0, 0.0)))
    change = (steep.image(0.1 * speckle[None]) - flat.image(0.1 * speckle[None]))[0] * PROBE.dynamic_range
    middle = flat.grid.shape[1] // 2
    for depth in (20.0, 40.0, 60.0):
        row = round(depth / flat.grid.spacing[0])
        assert float(change[row, middle - 2 : middle + 3].mean()) == pytest.approx(-10 * (1 - depth / 80), abs=0.3)


def test_the_sector_has_its_shape_and_nothing_lies_beyond(scanner, speckle):
    frame = scanner.image(speckle[None])[0]
    assert frame.min() >= 0 and frame.max() <= 1
    assert (frame[~scanner.sector] == 0).all()
    area = float(scanner.sector.sum()) * scanner.grid.spacing[0] * scanner.grid.spacing[1]
    assert area == pytest.approx(PROBE.half_angle * PROBE.depth**2, rel=0.01)
    assert scanner.grid.spacing[0] == scanner.grid.spacing[1]


def test_a_diverging_wave_takes_the_way_from_its_virtual_source():
    scanner = Scanner(PROBE.replace(focus=None))
    point = torch.tensor([60.0, 20.0])
    behind = PROBE.aperture / 2 / math.tan(PROBE.half_angle)
    expected = math.hypot(60 + behind, 20) - behind + math.hypot(60, 20)
    assert float(scanner.path(point)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_preset_makes_a_picture(name):
    scanner = Scanner(PROBES[name], ImageGrid.from_sector(PROBES[name].depth, PROBES[name].half_angle, (96, 96)))
    points, amplitudes, density = uniform(scanner, 0.5)
    frame = scanner.image(0.1 * scanner.echoes(points, amplitudes, density))[0]
    assert 0.2 < float(frame[scanner.sector].mean()) < 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frame_rate", 0.0),
        ("frame_rate", 1e5),
        ("frame_rate", math.nan),
        ("depth", 5.0),
        ("depth", 1600.0),
        ("width", 200.0),
        ("frequency", 2.5),
        ("dynamic_range", 0.0),
        ("focus", -10.0),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(key, value):
    with pytest.raises(InputError, match=f"probe: {key}"):
        PROBE.replace(**{key: value})


def test_no_frame_can_follow_faster_than_its_echoes():
    with pytest.raises(InputError, match="too high for echoes"):
        Probe(depth=300.0, frame_rate=3000.0)
