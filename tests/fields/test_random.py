"""Random fields: as large, as smooth and as repeatable as they are asked to be."""

import pytest
import torch

from cardiac_motion.fields.random import random_deformation, random_field


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("amplitude", [0.5, 4.0])
def test_amplitude_is_that_of_the_control_points(amplitude):
    """A grid as coarse as the control points shows the numbers that were drawn, times the amplitude."""
    field = random_field((64, 48), amplitude, 1, seeded())
    drawn = torch.randn(1, 2, 64, 48, generator=seeded())
    torch.testing.assert_close(field, amplitude * drawn)


def test_between_control_points_the_field_is_linear():
    """Of 48 × 32 voxels at a spacing of 8 there are 6 × 4 control points; they lie at 3.5, 11.5, …"""
    field = random_field((48, 32), 2.0, 8, seeded())
    assert field.shape == (1, 2, 48, 32)
    inner = field[..., 4:-4, 4:-4]
    for axis in (2, 3):
        bend = inner.diff(n=2, dim=axis).abs().amax(dim=(0, 1, 5 - axis))
        assert (bend > 1e-4).sum() <= 2 * (inner.shape[axis] // 8), "it bends at control points alone"
    drawn = torch.randn(1, 2, 6, 4, generator=seeded())
    middle = field[..., 3::8, 3::8] + field[..., 4::8, 4::8] + field[..., 3::8, 4::8] + field[..., 4::8, 3::8]
    assert torch.corrcoef(torch.stack([middle.flatten(), drawn.flatten()]))[0, 1] > 0.99
    assert 0.6 * 2.0 < field.std() < 2.0


def test_a_volume_and_a_grid_smaller_than_the_spacing():
    assert random_field((9, 8, 7), 1.0, 100, seeded()).shape == (1, 3, 9, 8, 7)
    ends = random_field((9, 8), 1.0, 100, seeded())
    drawn = torch.randn(1, 2, 2, 2, generator=seeded())
    torch.testing.assert_close(ends[..., [0, -1], :][..., [0, -1]], drawn)


def test_the_same_numbers_give_the_same_field():
    one, two, other = (random_deformation([20, 24], 1.5, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other) and one.shape == (1, 2, 20, 24)


def test_a_deformation_is_as_large_as_its_deviation():
    fields = torch.cat([random_deformation([48, 48], 2.0, seeded(seed)) for seed in range(60)])
    parts = 0.5**2 + 0.7**2 * 4 / 9 + 0.5**2 * 4 / 9  # a linear interpolation of unit numbers has variance 4/9 in 2D
    assert fields.std().item() == pytest.approx(2.0 * parts**0.5, rel=0.2)
    shift = fields.mean((2, 3)).std().item()
    assert shift > 0.8, "a part of it is one shift of the whole image"
    torch.testing.assert_close(
        random_deformation([16, 16], 3.0, seeded()), 3 * random_deformation([16, 16], 1.0, seeded())
    )
