"""Every comparator under the one contract: a known shift and a smooth bend come back, in 2D and in 3D."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from common.comparators.ants import AntsRegistration
from common.comparators.ffd import BSplineRegistration, NiftyReg, basis, bending_energy, spline_field
from common.comparators.greedy import GreedyRegistration
from common.comparators.ilk import IterativeLucasKanade
from common.comparators.tvl1 import TotalVariationFlow
from common.core.errors import InputError
from common.fields.ddf import identity_grid, warp
from common.fields.random import random_field


def greedy():
    pytest.importorskip("picsl_greedy")
    return GreedyRegistration(radius=2, iterations=(40, 30, 20), smoothness=2.0)


METHODS = {
    "ants quick": lambda: AntsRegistration("quick"),
    "ants cc": lambda: AntsRegistration("cc", radius=2, iterations=(30, 20, 3)),
    "ants syn_cc": lambda: AntsRegistration("syn_cc", radius=2, iterations=(40, 30, 10)),
    "greedy": greedy,
    "ilk": lambda: IterativeLucasKanade(radius=4),
    "tvl1": lambda: TotalVariationFlow(attachment=60),
    "b-spline": lambda: BSplineRegistration(steps=60),
}


def texture(size, seed=0):
    noise = np.random.default_rng(seed).random(size)
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return torch.tensor((smooth - smooth.min()) / (smooth.max() - smooth.min()), dtype=torch.float32)[None, None]


@pytest.mark.parametrize("size", [(56, 64), (32, 36, 28)])
@pytest.mark.parametrize("name", METHODS)
def test_a_smooth_bend_comes_back(name, size):
    moving = texture(size)
    axes = len(size)
    ddf = random_field(size, 0.8, 14, torch.Generator().manual_seed(2))
    ddf = ddf + torch.tensor([1.0, -0.6, 0.4][:axes]).view(1, axes, *(1,) * axes)
    pair = torch.cat([moving, warp(moving, ddf)], 1)
    found = METHODS[name]()(pair)
    assert found.shape == ddf.shape and found.dtype == torch.float32
    inner = (..., *(slice(6, -6) for _ in size))
    error = (found - ddf)[inner].square().sum(1).sqrt().mean()
    assert error < (0.5 if "quick" in name else 0.35) * ddf[inner].square().sum(1).sqrt().mean()


def test_ants_gives_the_same_field_again():
    moving = texture((24, 28, 24))
    pair = torch.cat([moving, moving.roll(1, 2)], 1)
    for preset, iterations in (("quick", None), ("syn_cc", (10, 5, 2))):
        method = AntsRegistration(preset, radius=2, iterations=iterations, seed=5)
        assert torch.equal(method(pair), method(pair))


def test_ants_registers_each_pair_of_a_batch_for_itself():
    a, b = texture((40, 40), 1), texture((40, 40), 2)
    batch = torch.cat([torch.cat([a, a.roll(1, 2)], 1), torch.cat([b, b], 1)])
    found = AntsRegistration("syn_cc", radius=2, iterations=(20, 10))(batch)
    inner = found[..., 8:-8, 8:-8]
    assert abs(float(inner[0, 0].mean()) + 1) < 0.2
    assert inner[1].abs().mean() < 0.05


def test_splines_are_a_partition_of_unity_and_reproduce_a_line():
    weights = basis(31, 5.0)
    assert torch.allclose(weights.sum(1), torch.ones(31), atol=1e-6) and weights.min() >= 0
    line = 5.0 * (torch.arange(weights.shape[1]) - 1).float()
    assert torch.allclose(weights @ line, torch.arange(31).float(), atol=1e-4)
    controls = torch.zeros(1, 2, weights.shape[1], basis(21, 5.0).shape[1])
    controls[:, 0] = line[:, None]
    field = spline_field(controls, (31, 21), 5.0)
    assert torch.allclose(field[0, 0], identity_grid((31, 21), field)[0, 0], atol=1e-4)
    assert float(bending_energy(controls)) == pytest.approx(0, abs=1e-6)


def test_bending_energy_grows_with_curvature():
    ramp = torch.arange(8.0)
    curved = (ramp[:, None] ** 2).expand(8, 8)[None, None]
    twisted = (ramp[:, None] * ramp)[None, None]
    assert float(bending_energy(curved)) == pytest.approx(4)
    assert float(bending_energy(twisted)) == pytest.approx(2)


def test_bad_settings_end_in_one_line(monkeypatch):
    with pytest.raises(InputError, match="ANTs preset must be one of quick, cc, syn_cc; got fast"):
        AntsRegistration("fast")
    with pytest.raises(InputError, match="at least 1"):
        BSplineRegistration(levels=0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="reg_f3d: NiftyReg is not installed"):
        NiftyReg()


def test_reg_f3d_where_it_is_installed():
    try:
        method = NiftyReg(iterations=60)
    except InputError as error:
        pytest.skip(str(error))
    moving = texture((32, 36, 28))
    field = random_field((32, 36, 28), 0.8, 14, torch.Generator().manual_seed(2))
    pair = torch.cat([moving, warp(moving, field)], 1)
    found = method(pair)[..., 6:-6, 6:-6, 6:-6]
    assert (found - field[..., 6:-6, 6:-6, 6:-6]).square().mean() < 0.3 * field.square().mean()
