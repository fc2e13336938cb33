import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.ultrasound.artefacts import (
    ARTEFACTS,
    Attenuation,
    Decorrelation,
    Noise,
    OutOfPlane,
    Reverberation,
    RibShadow,
)
from cardiac_motion.simulation.ultrasound.image import Probe, Scanner

FRAMES = range(6)
COURSE = np.linspace(0, 1, 6)


@pytest.fixture(scope="module")
def scanner():
    return Scanner(Probe(depth=100.0, width=70.0))


@pytest.fixture(scope="module")
def echoes(scanner):
    grids = torch.stack([scanner.noise(1, frame) for frame in FRAMES])
    return scanner.respond(grids)


@pytest.fixture(scope="module")
def units():
    return torch.randn(20_000, generator=torch.Generator().manual_seed(0)).expand(6, -1)


@pytest.mark.parametrize("kind", ARTEFACTS.values(), ids=ARTEFACTS)
def test_strength_nought_is_absent_and_a_seed_says_it_all(kind, scanner, echoes, units):
    def both(strength, seed, frames=FRAMES):
        chosen = list(frames)
        artefact = kind(strength, seed)
        return (
            artefact.scatterers(units[chosen], chosen, COURSE[chosen]),
            artefact.echoes(echoes[chosen], chosen, scanner),
        )

    for before, after in zip((units, echoes), both(0.0, 3), strict=True):
        assert torch.equal(before, after)
    changed = both(0.7, 3)
    assert not (torch.equal(changed[0], units) and torch.equal(changed[1], echoes))
    for a, b in zip(changed, both(0.7, 3), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(changed, both(0.7, 3, (2, 4)), strict=True):
        torch.testing.assert_close(a[[2, 4]], b)


@pytest.mark.parametrize("kind", [Decorrelation, OutOfPlane, Reverberation, RibShadow, Noise])
def test_another_seed_is_another_artefact(kind, scanner, echoes, units):
    first, second = (
        (kind(0.7, s).scatterers(units, FRAMES, COURSE), kind(0.7, s).echoes(echoes, FRAMES, scanner)) for s in (1, 2)
    )
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_decorrelation_is_stationary_and_falls_by_its_factor_each_frame(units):
    drifting = Decorrelation(0.6, 1).scatterers(units, FRAMES, COURSE)
    assert drifting.std(dim=1).sub(1).abs().max() < 0.03
    found = torch.corrcoef(drifting)[0]
    torch.testing.assert_close(found, (1 - 0.15 * 0.6) ** torch.arange(6.0), atol=0.02, rtol=0)


def test_out_of_plane_motion_loses_scatterers_to_others_and_comes_back(units):
    course = np.array([0.0, 0.5, 1.0, 0.0])
    slid = OutOfPlane(1.0, 1).scatterers(units[:4], range(4), course)
    assert slid.square().mean(1).sub(1).abs().max() < 0.06
    found = torch.corrcoef(slid)[0]
    assert found[0] > found[1] > found[2] and found[2] < 0.5
    assert found[3] == pytest.approx(1, abs=1e-5)


def test_attenuation_takes_its_decibels(scanner, echoes):
    ratio = (Attenuation(0.5).echoes(echoes, FRAMES, scanner).abs() / echoes.abs()).nanmean((0, 2))
    row = int((scanner.ranges - 80).abs().argmin())
    assert 20 * np.log10(float(ratio[row])) == pytest.approx(
        -0.5 * 1.6 * (float(scanner.ranges[row]) - 30) / 10, abs=0.01
    )
    assert float(ratio[int((scanner.ranges - 20).abs().argmin())]) == pytest.approx(1, abs=1e-5)


def test_a_shadow_darkens_a_wedge_and_nothing_else(scanner, echoes):
    loss = -20 * torch.log10(RibShadow(1.0, 4).echoes(echoes, FRAMES, scanner).abs() / echoes.abs())[0]
    deep = loss[int((scanner.ranges - 80).abs().argmin())]
    assert deep.max() == pytest.approx(30, abs=1)
    assert 0.05 < float((deep > 15).float().mean()) < 0.4
    assert loss[scanner.ranges < 5].abs().max() < 1.5


def test_reverberation_stands_still_and_is_brighter_with_strength(scanner, echoes):
    silence = torch.zeros_like(echoes)
    weak, strong = (Reverberation(s, 2).echoes(silence, FRAMES, scanner) for s in (0.2, 1.0))
    assert torch.equal(strong[0], strong[5])
    level = [10 * np.log10(float(e.abs().square().max())) for e in (weak, strong)]
    assert level[1] - level[0] == pytest.approx(20, abs=0.1)
    lit = strong[0].abs() > 0.1 * strong[0].abs().max()
    assert float(lit.float().mean()) < 0.1


def test_noise_is_new_in_every_frame_and_has_its_level(scanner, echoes):
    noise = Noise(0.5, 1).echoes(torch.zeros_like(echoes), FRAMES, scanner)
    rows = (scanner.ranges > 45) & (scanner.ranges < 55)
    level = 10 * np.log10(float(noise[:, rows].abs().square().mean()))
    reference = 10 * np.log10(float(echoes[:, rows].abs().square().mean()))
    assert level - reference == pytest.approx(-60 + 12.5 + 3, abs=1)
    flat = noise.reshape(6, -1)
    overlap = (flat[0] * flat[1].conj()).sum().abs() / (flat[0].norm() * flat[1].norm())
    assert overlap < 0.05


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strengths_beyond_their_range_are_refused(strength):
    with pytest.raises(InputError, match="Noise: strength"):
        Noise(strength)
