import torch

from common.fields.ddf import smooth
from common.registration.metrics import reconstruction, regularity


def test_reconstruction_of_a_translation():
    """Eleven pairs: more than are measured at once. Right fields leave no error, none leaves the shift's."""
    torch.manual_seed(0)
    wide = smooth(torch.rand(11, 1, 64, 70), 1.0)
    image = torch.cat([wide[..., 2:62, 4:64], wide[..., 3:63, 4:64]], 1)  # fixed(p) = moving(p + (1, 0))
    ddf = torch.zeros(11, 2, 60, 60)
    ddf[:, 0] = 1
    mask = torch.zeros(1, 1, 60, 60, dtype=torch.bool)
    mask[..., 12:48, 12:48] = True
    before = reconstruction(image, mask, radius=5)
    after = reconstruction(image, mask, ddf.__getitem__, radius=5)
    assert before["mse"].shape == after["nlcc"].shape == (11,)
    assert after["mse"].max() < 1e-10 < before["mse"].min()
    assert after["nlcc"].min() > 0.999 > before["nlcc"].max()
    expected = (image[:, 1] - image[:, 0])[:, 12:48, 12:48].square().mean((1, 2))
    torch.testing.assert_close(before["mse"], expected)


def test_each_pair_has_its_own_mask():
    image = torch.rand(2, 2, 40, 40)
    masks = torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    masks[0, ..., 10:30, 10:20] = True
    masks[1, ..., 10:30, 20:30] = True
    both = reconstruction(image, masks, radius=4)
    for i in range(2):
        alone = reconstruction(image[i : i + 1], masks[i : i + 1], radius=4)
        torch.testing.assert_close(both["nlcc"][i], alone["nlcc"][0])


def test_regularity():
    ddf = torch.zeros(2, 2, 30, 30)
    ddf[1, 1, :, 15:] = -2 * torch.arange(15.0)
    found = regularity(ddf, None)
    assert found["folding"][0] == 0 and found["jacobian_sd"][0] == 0
    assert found["folding"][1] > 0.4 and found["jacobian_sd"][1] > 0.5


def test_regularity_of_more_pairs_than_are_measured_at_once_by_the_formula():
    """A stretch by 1 + s along the rows of a part: the determinant is 1 + s there and 1 elsewhere."""
    stretch = torch.linspace(0.1, 1.1, 11)
    ddf = torch.zeros(11, 2, 12, 20)
    ddf[:, 0, :, 10:] = stretch.view(-1, 1, 1) * torch.arange(12.0).view(1, 12, 1)
    ddf[10, 1, :, 10:] = -2 * torch.arange(10.0)  # folds: its columns run backwards
    mask = torch.zeros(1, 1, 12, 20, dtype=torch.bool)
    mask[..., 1:-1, 2:8] = mask[..., 1:-1, 12:18] = True  # away from where the two parts meet
    found = regularity(ddf, mask)
    assert found["folding"].shape == found["jacobian_sd"].shape == (11,)
    torch.testing.assert_close(found["jacobian_sd"][:10], stretch[:10] / 2, rtol=1e-4, atol=1e-5)
    assert found["folding"][:10].max() == 0 and found["folding"][10].item() == 0.5
    each = torch.cat([mask, mask]).clone()
    each[1, ..., 10:] = False
    own = regularity(ddf[[3, 3]], each)["jacobian_sd"]
    torch.testing.assert_close(own, torch.tensor([stretch[3] / 2, 0.0]), rtol=1e-4, atol=1e-5)
