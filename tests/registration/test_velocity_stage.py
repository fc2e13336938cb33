"""The velocity field's scale by itself; in the whole registration: ``test_testtime_steps.py``."""

import pytest
import torch

from cardiac_motion.registration.velocity_stage import VelocityStage
from tests.registration.test_optimisation import problem
from tests.registration.test_testtime_steps import Pull


def test_the_grid_is_a_part_of_the_images_at_most():
    stage = VelocityStage(resolution=0.5)
    assert stage.grid((32, 40), 0.25) == (8, 10) and stage.grid((32, 40), 1.0) == (16, 20)


@pytest.mark.parametrize("steps", [1, 3])
def test_each_step_moves_the_velocity_by_the_rate(steps):
    start = torch.full((5, 2, 8, 10), 2.0)
    stage = VelocityStage(rate=0.25, sigma=0.0)
    velocity, ddf, loss = stage.fit(problem(None, steps=steps), start)
    assert torch.equal(ddf, velocity) and (start == 2).all(), "without squarings; what it begins with is kept"
    assert torch.allclose(velocity[:, 0], torch.tensor(2 + 0.25 * steps), rtol=1e-2)
    assert (velocity[:, 1] == 2).all() and loss == pytest.approx(-(2 + 0.25 * (steps - 1) / 2), rel=1e-2)


def test_a_strided_scale_has_a_loss_of_its_own():
    class Strides(Pull):
        def __init__(self):
            super().__init__()
            self.similarity.stride = 1
            self.strides = seen

        def __call__(self, *given):
            self.strides.append(self.similarity.stride)
            return super().__call__(*given)

        def __deepcopy__(self, memo):
            return Strides()

    seen = []
    loss = Strides()
    for scales, stride in (((0.375,), 2), ((1.0,), 1), ((), 1)):
        seen.clear()
        VelocityStage(strided_scales=scales, squarings=2).fit(problem(None, loss=loss), torch.zeros(5, 2, 8, 10))
        assert set(seen) == {stride} and loss.similarity.stride == 1
