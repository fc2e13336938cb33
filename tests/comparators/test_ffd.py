"""B-spline registration: its splines, its bending energy, and NiftyReg where it is installed."""

import pytest
import torch

from cardiac_motion.comparators.ffd import BSplineRegistration, NiftyReg, basis, bending_energy, spline_field
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.fields.random import random_field
from tests.comparators.contract import texture


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
