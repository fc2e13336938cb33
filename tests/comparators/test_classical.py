"""What classical methods have in common: shapes, the dark, and one pair at a time."""

import numpy as np
import pytest
import torch

from cardiac_motion.comparators.classical import ClassicalMethod


class Means(ClassicalMethod):
    """Gives the means of both images as the field, and counts how often it is asked."""

    axes = (2, 3)
    calls = 0

    def register(self, moving, fixed):
        assert moving.dtype == fixed.dtype == np.float32
        self.calls += 1
        field = np.full((fixed.ndim, *fixed.shape), moving.mean(), dtype=np.float64)
        field[1] = fixed.mean()
        return field


@pytest.mark.parametrize("size", [(6, 7), (4, 5, 6)])
def test_each_pair_of_a_batch_for_itself(size):
    method, image = Means(), torch.rand(3, 2, *size, dtype=torch.float64, requires_grad=True)
    ddf = method(image)
    assert ddf.shape == (3, len(size), *size) and ddf.dtype == torch.float32 and method.calls == 3
    torch.testing.assert_close(ddf.flatten(2)[:, 0, 0], image[:, 0].flatten(1).mean(1).float())
    torch.testing.assert_close(ddf.flatten(2)[:, 1, 0], image[:, 1].flatten(1).mean(1).float())


@pytest.mark.parametrize("dark", [0, 1])
def test_nothing_moves_where_an_image_has_one_grey_value(dark):
    method, image = Means(), torch.rand(1, 2, 6, 7)
    image[:, dark] = 0.3
    assert method(image).abs().max() == 0 and method.calls == 0


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ((2,), (1, 2, 4, 5, 6), r"expected \[B, 2, H, W\], got \(1, 2, 4, 5, 6\)"),
        ((2, 3), (1, 3, 4, 5), r"expected \[B, 2, H, W\] or \[B, 2, D, H, W\], got \(1, 3, 4, 5\)"),
        ((3,), (1, 2, 4), r"expected \[B, 2, D, H, W\], got \(1, 2, 4\)"),
    ],
)
def test_ill_shaped(axes, shape, words):
    method = Means()
    method.axes = axes
    with pytest.raises(ValueError, match=words):
        method(torch.zeros(shape))
    with pytest.raises(NotImplementedError):
        ClassicalMethod()(torch.rand(1, 2, 4, 5))
