"""A pool of blood of known flow, without a registration."""

import math

import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.transforms import mask_pool

SIZE, TURN = 72, 0.06


def turning(frames=4, spacing=(0.5, 0.5), times=True, bright=0.8):
    """A pool that turns rigidly, counter-clockwise on the picture, by ``TURN`` a frame; and its exact fields."""
    axis = torch.arange(SIZE, dtype=torch.float32) - (SIZE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = math.cos(TURN), math.sin(TURN)
    ddf = torch.stack([cos * y + sin * x - y, -sin * y + cos * x - x]).expand(frames - 1, -1, -1, -1)
    pool = (torch.hypot(y, x) < 24).expand(frames, -1, -1)
    values = torch.where(pool, bright, 0.4)
    seconds = [0.01 * t for t in range(frames)] if times else None
    cine = MetaTensor(values[None], meta={"spacing": spacing, "frame_times": seconds, "source": "x", "aspect": 1.0})
    image = torch.stack([values[:-1], values[1:]], 1)
    case = mask_pool(CineCase(CineEntry("turning", "turning"), image, None, cine), pool)
    return case, ddf
