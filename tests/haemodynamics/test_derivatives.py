import math

import pytest
import torch

from cardiac_motion.haemodynamics.derivatives import divergence, strain_rate, velocity_gradient, vorticity
from tests.haemodynamics.flows import grid, hill, lamb_oseen, lamb_oseen_vorticity, taylor_green

STEP = 0.25
Y, X = grid(161, STEP)


def test_vorticity_of_lamb_oseen_inside_a_mask():
    mask = torch.hypot(Y, X) < 15
    found = 1e3 * vorticity(lamb_oseen(Y, X)[None], (STEP, STEP), mask[None])[0]
    truth = lamb_oseen_vorticity(Y, X)
    assert found.isnan().equal(~mask)
    assert (found - truth)[mask].abs().max() < 0.01 * truth.max()


def test_what_lies_outside_the_mask_changes_nothing():
    mask = torch.hypot(Y, X) < 8
    velocity = lamb_oseen(Y, X)
    spoilt = torch.where(mask, velocity, 1e6)
    for measure in (vorticity, divergence):
        assert (
            measure(velocity[None], (1, 1), mask[None]).equal(measure(spoilt[None], (1, 1), mask[None]))
            or (measure(velocity[None], (1, 1), mask[None]) - measure(spoilt[None], (1, 1), mask[None]))
            .nan_to_num()
            .abs()
            .max()
            == 0
        )


def test_taylor_green_has_no_divergence_and_twice_the_stream_function_of_vorticity():
    k = 2 * math.pi / 20.0
    velocity = taylor_green(Y, X)[None]
    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert divergence(velocity, (STEP, STEP))[inner].abs().max() < 1e-12
    truth = 2 * 0.4 * k * torch.cos(k * Y) * torch.cos(k * X)
    found = vorticity(velocity, (STEP, STEP))
    assert (found - truth)[inner].abs().max() < 0.002 * truth.max()


def test_hill_vortex_comes_apart_in_its_slice_as_it_must():
    velocity, inside = hill(Y, X)
    found = divergence(velocity[None], (STEP, STEP), inside[None])[0]
    truth = -1.5 * 0.3 * Y / 18.0**2  # −u_r / r
    middle = torch.hypot(Y, X) < 17
    assert (found - truth)[middle].abs().max() < 1e-6
    curl = vorticity(velocity[None], (STEP, STEP), inside[None])[0]
    assert (curl - -7.5 * 0.3 * -X / 18.0**2)[middle].abs().max() < 1e-6


def test_strain_rate_of_shear_and_rows_of_another_height():
    velocity = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    velocity[0, 1] = 3.0 * torch.arange(6.0)[:, None]
    rate = strain_rate(velocity, (2.0, 1.0))
    assert rate[0, 0, 1].allclose(torch.tensor(0.75, dtype=torch.float64))
    assert rate[0, 0, 0].abs().max() == 0


def test_a_pixel_alone_has_no_derivative():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 2, 2] = True
    assert velocity_gradient(torch.ones(1, 2, 5, 5), (1, 1), mask).isnan().all()


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="expected a velocity"):
        vorticity(torch.zeros(2, 8, 8))
