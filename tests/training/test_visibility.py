import torch

from cardiac_motion.fields.scripted import warp_plane
from cardiac_motion.training.visibility import visibility


def test_what_has_changed_beyond_recognition_hardly_counts():
    rng = torch.Generator().manual_seed(0)
    moving = torch.rand(1, 60, 120, generator=rng)
    field = torch.zeros(2, 60, 120)
    field[1] = 2.0
    fixed = warp_plane(moving[None], field[None])[0]
    fixed[..., 60:] = torch.rand(1, 60, 60, generator=rng)
    weight = visibility(torch.cat([moving, fixed]), field)
    assert weight.shape == (1, 60, 120)
    assert weight[..., 15:40].min() == 1 and weight[..., 85:].max() < 0.4
    assert visibility(torch.cat([moving, fixed]), torch.zeros_like(field))[..., 15:40].max() < 0.4, "by the true motion"
