import torch

from cardiac_motion.fields.ddf import smooth
from cardiac_motion.registration.metrics import reconstruction, regularity


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
    assert before["mse"].shape == after["lncc2"].shape == (11,)
    assert after["mse"].max() < 1e-10 < before["mse"].min()
    assert after["lncc2"].min() > 0.999 > before["lncc2"].max()
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
        torch.testing.assert_close(both["lncc2"][i], alone["lncc2"][0])


def test_regularity():
    ddf = torch.zeros(2, 2, 30, 30)
    ddf[1, 1, :, 15:] = -2 * torch.arange(15.0)
    found = regularity(ddf, None)
    assert found["folding_fraction"][0] == 0 and found["jacobian_det_sd"][0] == 0
    assert found["folding_fraction"][1] > 0.4 and found["jacobian_det_sd"][1] > 0.5


def test_regularity_of_more_pairs_than_are_measured_at_once_by_the_formula():
    """A stretch by 1 + s along the rows of a part: the determinant is 1 + s there and 1 elsewhere."""
    stretch = torch.linspace(0.1, 1.1, 11)
    ddf = torch.zeros(11, 2, 12, 20)
    ddf[:, 0, :, 10:] = stretch.view(-1, 1, 1) * torch.arange(12.0).view(1, 12, 1)
    ddf[10, 1, :, 10:] = -2 * torch.arange(10.0)  # folds: its columns run backwards
    mask = torch.zeros(1, 1, 12, 20, dtype=torch.bool)
    mask[..., 1:-1, 2:8] = mask[..., 1:-1, 12:18] = True  # away from where the two parts meet
    found = regularity(ddf, mask)
    assert found["folding_fraction"].shape == found["jacobian_det_sd"].shape == (11,)
    torch.testing.assert_close(found["jacobian_det_sd"][:10], stretch[:10] / 2, rtol=1e-4, atol=1e-5)
    assert found["folding_fraction"][:10].max() == 0 and found["folding_fraction"][10].item() == 0.5
    each = torch.cat([mask, mask]).clone()
    each[1, ..., 10:] = False
    own = regularity(ddf[[3, 3]], each)["jacobian_det_sd"]
    torch.testing.assert_close(own, torch.tensor([stretch[3] / 2, 0.0]), rtol=1e-4, atol=1e-5)


def test_folding_is_counted_in_each_pairs_own_mask():
    """The right half runs backwards; one pair looks there, one elsewhere, one at both halves alike."""
    ddf = torch.zeros(3, 2, 12, 20)
    ddf[:, 1, :, 10:] = -2 * torch.arange(10.0)
    masks = torch.zeros(3, 1, 12, 20, dtype=torch.bool)
    masks[0, ..., 1:-1, 12:18] = masks[1, ..., 1:-1, 2:8] = True
    masks[2] = masks[0] | masks[1]
    assert regularity(ddf, masks)["folding_fraction"].tolist() == [1.0, 0.0, 0.5]
    # twelve pairs, more than at once: the mask goes on with its pair
    found = regularity(ddf.repeat(4, 1, 1, 1), masks.repeat(4, 1, 1, 1))["folding_fraction"]
    assert found.tolist() == [1.0, 0.0, 0.5] * 4
    assert regularity(ddf, masks[:1])["folding_fraction"].tolist() == [1.0] * 3


def test_more_pairs_than_at_once_keep_their_masks_and_fields():
    rng = torch.Generator().manual_seed(2)
    image = torch.rand(9, 2, 40, 40, generator=rng)
    masks = torch.zeros(9, 1, 40, 40, dtype=torch.bool)
    for k in range(9):
        masks[k, ..., 12 + k : 18 + k, 12:28] = True
    found = reconstruction(image, masks, lambda pairs: torch.zeros(9, 2, 40, 40)[pairs], radius=4)
    expected = torch.stack(
        [(pair[0] - pair[1]).square()[mask[0]].mean() for pair, mask in zip(image, masks, strict=True)]
    )
    torch.testing.assert_close(found["mse"], expected)
    assert len(found["lncc2"]) == 9


def test_a_brighter_picture_is_alike_but_not_the_same():
    """LNCC² does not see a gain and an offset, the squared error sees nothing else."""
    fixed = torch.rand(2, 1, 30, 30, generator=torch.Generator().manual_seed(1))
    found = reconstruction(torch.cat([0.5 * fixed + 0.2, fixed], 1), None, radius=4)
    torch.testing.assert_close(found["lncc2"], torch.ones(2), atol=2e-3, rtol=0)
    torch.testing.assert_close(found["mse"], (0.5 * fixed - 0.2).square().mean((1, 2, 3)))


def test_bars_are_named(monkeypatch):
    named = []
    monkeypatch.setattr(
        "cardiac_motion.registration.metrics.show_bar", lambda steps, *words: named.append(words) or steps
    )
    reconstruction(torch.rand(1, 2, 30, 30), None, radius=4)
    regularity(torch.zeros(1, 2, 8, 8), None)
    assert named == [("similarity", "batch"), ("regularity", "batch")]
