"""A cine is segmented mirrored where only that gives a ventricle."""

import numpy as np
import torch
from torch.nn import functional

from cardiac_motion.strain_pipeline.quality.orientation import (
    mirror_segmentation,
    orient_segmentation,
    plausible_share,
    walls_at,
)
from tests.strain_pipeline.test_pipeline import SHARE, labels_at

LABELS = torch.from_numpy(np.stack([labels_at(share) for share in SHARE])).long()
FRAMES = LABELS / 4 + torch.linspace(0, 0.1, 120)  # the picture's right is brighter


def knows(side):
    """Segments frames whose brighter side is on the ``side`` it knows; of others, one box in a box."""

    def segment(frames):
        right = bool(frames[:, 110:, 100:].mean() > frames[:, 110:, :20].mean())
        labels = torch.round(4 * (frames - 0.05)).long().clamp(0, 2)
        if right != (side == "right"):
            labels = torch.zeros_like(labels)
            labels[:, 40:70, 20:100], labels[:, 44:70, 26:94] = 2, 1
        return functional.one_hot(labels, 4).movedim(-1, 1).float()

    return segment


def test_it_stays_as_it_is_where_that_gives_a_ventricle():
    segment = knows("right")
    found, lines = orient_segmentation(FRAMES, segment)
    assert found is segment and plausible_share(lines) == 1 and len(lines) == 8


def test_it_is_mirrored_where_only_that_does():
    assert plausible_share(walls_at(FRAMES, knows("left"))) == 0
    found, lines = orient_segmentation(FRAMES, knows("left"))
    assert plausible_share(lines) == 1
    assert torch.equal(found(FRAMES).argmax(1), LABELS), "memberships lie on the picture as it is"
    assert torch.equal(mirror_segmentation(knows("left"))(FRAMES), found(FRAMES))


def test_no_wall_is_not_plausible():
    assert plausible_share(np.full((3, 3, 120, 2), np.nan)) == 0
