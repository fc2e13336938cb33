import math

import torch

from cardiac_motion.haemodynamics.energy import DENSITY, VISCOSITY, energy_loss, kinetic_energy
from tests.haemodynamics.flows import grid, taylor_green

STEP, WAVE, SPEED = 0.1, 20.0, 0.4
Y, X = grid(201, STEP)  # one wave along each axis
CELL = torch.zeros(1, 201, 201, dtype=torch.bool)
CELL[:, :200, :200] = True


def test_taylor_green_energy_and_loss():
    velocity = taylor_green(Y, X, SPEED, WAVE)[None]
    area = (WAVE * 1e-3) ** 2
    energy = kinetic_energy(velocity, (STEP, STEP), CELL)
    assert torch.isclose(energy, torch.tensor([0.25 * DENSITY * SPEED**2 * area], dtype=torch.float64), rtol=1e-9)
    wave_number = 2 * math.pi / (WAVE * 1e-3)
    loss = energy_loss(velocity, (STEP, STEP), CELL)
    # without flux ∫ 2 ‖S‖² is ∫ ω², whose mean is (2 U k)² / 4
    truth = VISCOSITY * (SPEED * wave_number) ** 2 * area
    assert torch.isclose(loss, torch.tensor([truth], dtype=torch.float64), rtol=0.02)


def test_outside_counts_nothing():
    velocity = torch.ones(1, 2, 201, 201)
    assert torch.isclose(kinetic_energy(velocity, (1, 1), CELL), torch.tensor([DENSITY * 40000e-6]))
    velocity[:, :, 200] = 1e6
    assert energy_loss(velocity, (1, 1), CELL).item() == 0
