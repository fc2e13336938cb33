"""Which motion a wall is given, by name."""

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.material_wall import follow_wall
from cardiac_motion.registration.midwall import follow_midwall
from cardiac_motion.registration.wall_motion import check_wall_motion, regularise_wall
from cardiac_motion.ventricle.contours import wall_mask

SIZE = (72, 64)
ENDO = np.stack([np.linspace(60, 12, 30), np.full(30, 26.0)], -1)
EPI = ENDO + [0, 12]


@pytest.fixture(scope="module")
def case():
    noise = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 78, 70, generator=torch.Generator().manual_seed(0)), 7, 1)
    frames = [torch.roll(noise[0, 0], t, 0) for t in range(4)]  # a row down a frame
    image = torch.stack([torch.stack([frames[t], frames[t + 1]]) for t in range(3)])
    ddf = torch.zeros(3, 2, *SIZE)
    ddf[:, 0] = -0.7
    return image, ddf


def test_each_name_is_its_own_way(case):
    image, ddf = case
    assert regularise_wall("none", image, ddf, ENDO, EPI) is ddf
    inside = regularise_wall("midwall", image, ddf, ENDO, EPI, 1)
    assert torch.equal(inside, follow_midwall(ddf, wall_mask(ENDO, EPI, SIZE), 1))
    material = regularise_wall("material", image, ddf, ENDO, EPI, 1)
    assert torch.equal(material, follow_wall(image, ddf, ENDO, EPI, 1))
    inner = (slice(None), 0, slice(20, 50), slice(28, 36))
    assert (inside[inner] + 1).abs().mean() > 0.25 and (material[inner] + 1).abs().mean() < 0.1


def test_another_name_is_refused():
    with pytest.raises(InputError, match="wall_motion must be one of none, midwall, material; got inside"):
        check_wall_motion("inside")
