import numpy as np
import torch

from cardiac_motion.training.pictures import SIZE, natural_pictures, negative_pictures


def test_pictures_are_those_of_the_seed_and_none_is_blank():
    found = negative_pictures(12, 3)
    again = negative_pictures(12, 3)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(found, again, strict=True))
    assert any(not torch.equal(a, b) for (_, a), (_, b) in zip(found, negative_pictures(12, 4), strict=True))
    for _, image in found:
        assert image.shape == (SIZE, SIZE) and image.dtype == torch.uint8 and image.max() > image.min()
    assert {name.split("_")[0] for name, _ in found} >= {"noise", "text", "shapes"}
    assert negative_pictures(0, 3) == []


def test_natural_pictures_use_all_grey_values():
    found = dict(natural_pictures())
    assert "camera" in found and len(found) > 5
    assert all(image.dtype == np.uint8 and image.min() == 0 and image.max() == 255 for image in found.values())
