"""The synthetic hippocampus: repeatable, in two parts, of a plausible size."""

import numpy as np
from scipy import ndimage

from cardiac_motion.volume.phantom import SHAPE, phantom


def test_each_seed_gives_its_own_volume_and_the_same_again():
    (image, label), (again, _), (other, _) = phantom(1), phantom(1), phantom(2)
    assert np.array_equal(image, again) and not np.array_equal(image, other)
    assert image.shape == label.shape == SHAPE and image.dtype == np.float32 and label.dtype == np.uint8


def test_head_lies_before_body_and_both_are_whole():
    for seed in range(4):
        image, label = phantom(seed)
        assert set(np.unique(label)) == {0, 1, 2}
        head, body = (np.argwhere(label == value) for value in (1, 2))
        assert head[:, 1].mean() > body[:, 1].mean() + 8, "the second axis points forward"
        sizes = ndimage.sum_labels(label > 0, ndimage.label(label > 0)[0], [1, 2])
        assert sizes[0] > 0.95 * (label > 0).sum(), "one piece"
        assert 1000 < (label > 0).sum() < 5000, "mm³: hippocampi are of 2 to 4 ml"
        assert np.isfinite(image).all() and 400 < image.max() < 1800


def test_the_structure_is_seen():
    image, label = phantom(3)
    near = ndimage.binary_dilation(label > 0, iterations=2) & (label == 0)
    assert image[label > 0].mean() != image[near].mean() and image[label > 0].std() < 0.5 * image[label > 0].mean()


def test_another_shape():
    image, label = phantom(0, (30, 44, 32))
    assert image.shape == label.shape == (30, 44, 32) and (label == 1).any() and (label == 2).any()
