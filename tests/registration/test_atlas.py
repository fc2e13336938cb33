import logging

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import change_grids, identity_grid, warp
from cardiac_motion.fields.random import random_field
from cardiac_motion.fields.regularity import folding_fraction
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.atlas import Atlases, AtlasSegmentation, similarity
from cardiac_motion.registration.losses import MembershipRegistrationLoss, RegistrationLoss
from cardiac_motion.volume.cases import phantom_entries
from cardiac_motion.volume.phantom import phantom
from cardiac_motion.volume.transforms import one_hot, volume_transforms
from tests.registration.staged import multi_scale


class Still(torch.nn.Module):
    """Finds no displacement."""

    def forward(self, image):
        return torch.zeros(len(image), image.dim() - 2, *image.shape[2:])


class Known(torch.nn.Module):
    """Finds the field that it is given."""

    def __init__(self, ddf):
        super().__init__()
        self.ddf = ddf

    def forward(self, image):
        return self.ddf.expand(len(image), -1, -1, -1, -1)


@pytest.fixture(scope="module")
def atlases():
    return Atlases()


@pytest.fixture(scope="module")
def target():
    return volume_transforms()(phantom_entries("target", 1)[0])


def dice(a, b):
    return [2 * float(((a == v) & (b == v)).sum()) / float((a == v).sum() + (b == v).sum()) for v in (1, 2)]


def test_the_most_similar_atlas_is_chosen_and_never_the_target_itself(atlases):
    target = atlases.image[2:3]
    found = AtlasSegmentation(atlases, choice="before", n_atlases=5)
    result = found(target, Still())
    assert "synthetic_atlas_2" not in result.names
    values = similarity(target, atlases.image, None)
    values[2] = -1
    assert result.names[0] == atlases.names[int(values.argmax())]
    assert result.lncc2 == sorted(result.lncc2, reverse=True)


def test_the_choice_after_registration_follows_the_selector(atlases):
    target = atlases.image[:1]
    field = random_field(target.shape[2:], 1.5, 12, torch.Generator().manual_seed(0))
    bent = warp(target, field)
    seen = AtlasSegmentation(atlases, selector=Known(field), candidates=0)
    assert seen(bent, Still()).names == ["synthetic_atlas_0"]


def test_the_right_field_carries_the_labels_to_their_place(atlases):
    field = random_field(atlases.image.shape[2:], 1.5, 12, torch.Generator().manual_seed(1))
    bent, truth = warp(atlases.image[:1], field), warp(atlases.label[:1].float(), field)
    found = AtlasSegmentation(atlases, selector=Known(field), candidates=0)
    result = found(bent, Known(field))
    ddf = result.ddf
    assert ddf.shape == (1, 3, 48, 64, 48)
    whole = torch.cat([1 - truth.sum(1, keepdim=True), truth], 1).argmax(1)[0]
    assert min(dice(result.memberships.argmax(1)[0], whole)) > 0.99


@pytest.mark.parametrize("fusion", ["majority", "joint"])
def test_fused_memberships_are_shares(atlases, target, fusion):
    found = AtlasSegmentation(atlases, choice="before", n_atlases=4, fusion=fusion)
    shares = found(target["image"], Still(), target["mask"]).memberships
    assert shares.shape == (1, 3, 48, 64, 48)
    assert shares.min() >= 0 and torch.allclose(shares.sum(1), torch.ones(1, 48, 64, 48), atol=1e-3)


def test_joint_fusion_trusts_the_atlas_that_agrees(atlases):
    target = atlases.image[:1] + 1e-4
    joint = AtlasSegmentation(atlases, choice="before", n_atlases=4, fusion="joint", sharpness=8)
    majority = AtlasSegmentation(atlases, choice="before", n_atlases=4, fusion="majority")
    label = atlases.label[:1].float()
    truth = torch.cat([1 - label.sum(1, keepdim=True), label], 1).argmax(1)[0]
    overlap = [np.mean(dice(f(target, Still()).memberships.argmax(1)[0], truth)) for f in (joint, majority)]
    assert overlap[0] > overlap[1] and overlap[0] > 0.95


def test_an_atlas_that_fails_to_load_is_left_out_with_a_line(tmp_path, caplog):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        for folder, values in zip(("imagesTr", "labelsTr"), phantom(i), strict=True):
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / f"a{i}.nii.gz")
    (tmp_path / "labelsTr" / "a1.nii.gz").write_text("broken", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        atlases = Atlases(folder=str(tmp_path))
    assert atlases.names == ["a0", "a2"]
    assert "a1.nii.gz" in caplog.text and "skipped" in caplog.text
    for i in (0, 2):
        (tmp_path / "labelsTr" / f"a{i}.nii.gz").unlink()
    with pytest.raises(InputError, match="none of 3 atlases can be used"):
        Atlases(folder=str(tmp_path))


def test_no_atlases_end_in_one_line(tmp_path, atlases):
    with pytest.raises(InputError, match="no atlases; expected volumes in imagesTr"):
        Atlases(folder=str(tmp_path))
    with pytest.raises(InputError, match="no atlases to register: give a folder"):
        Atlases(synthetic=False)
    with pytest.raises(InputError, match="choice must be one of"):
        AtlasSegmentation(atlases, choice="best")
    one = Atlases(n_atlases=1)
    with pytest.raises(InputError, match="no atlas is left"):
        AtlasSegmentation(one)(one.image, Still())


def test_a_mapping_between_grids_that_lie_apart():
    fixed, moving = np.diag([1.0, 1, 1, 1]), np.diag([-1.0, 2, 1, 1])
    moving[:3, 3] = 5, -2, 3
    u = random_field((6, 7, 8), 1.0, 3, torch.Generator().manual_seed(0))
    v = change_grids(u, fixed, moving)
    grid = identity_grid((6, 7, 8), u)
    at = (grid + u).flatten(2)[0].numpy()
    expected = moving[:3, :3] @ at + moving[:3, 3:]
    assert np.allclose((grid + v).flatten(2)[0].numpy(), expected, atol=1e-4)


def test_an_untrained_network_carries_an_atlas_unchanged(atlases, target):
    found = AtlasSegmentation(atlases, candidates=2)
    with torch.no_grad():
        ddf = found(target["image"], RegistrationUNet(3, full=[16]).eval(), target["mask"]).ddf
    assert ddf.abs().max() < 0.05


def test_a_cropped_registration_gives_the_box_the_same_field(atlases, target):
    class Sine(Still):
        def forward(self, image):
            return super().forward(image) + image[:, :1].sin()

    pairs = atlases.pairs([0, 1], target["image"])
    whole, part = (AtlasSegmentation(atlases, crop=c)._register(pairs, Sine(), target["mask"]) for c in (False, True))
    inside = target["mask"].expand_as(part)
    assert part.shape == whole.shape and torch.equal(part[inside], whole[inside])


def test_memberships_of_the_target_pull_the_labels_to_them(atlases, target):
    """A membership network that knows the target's labels beats the intensities alone, and nothing folds."""
    truth = one_hot(target)
    seen = []

    class Oracle(torch.nn.Module):
        def forward(self, image):
            seen.append(image.shape)
            return truth[:, None]

    overlap = {}
    for name, network in (("intensities", None), ("memberships", Oracle())):
        options = {"scales": (0.5,), "steps": 25, "field_scales": (0.5,), "squarings": 5, "regularisation_weight": 0.3}
        loss = RegistrationLoss(radius=2) if network is None else MembershipRegistrationLoss(3.0, radius=2)
        register = multi_scale(**options, loss=loss)
        found = AtlasSegmentation(
            atlases, register, choice="before", refined_candidates=2, margin=3, memberships=network
        )
        result = found(target["image"], RegistrationUNet(3, full=[16]), target["mask"])
        ddf = result.ddf
        overlap[name] = np.mean(dice(result.memberships.argmax(1)[0], truth.argmax(1)[0]))
        assert folding_fraction(ddf).max() == 0
    assert seen == [target["image"].shape]
    assert overlap["memberships"] > max(overlap["intensities"], 0.9)


def test_the_given_atlas_is_registered_however_unlike_it_is(atlases, target):
    found = AtlasSegmentation(atlases)
    least = int(similarity(target["image"], atlases.image, target["mask"]).argmin())
    found.given = atlases.names[least]
    assert found(target["image"], Still(), target["mask"]).names == [atlases.names[least]]
    found.given = "nobody"
    with pytest.raises(InputError, match="none of 6 atlases has the name nobody"):
        found(target["image"], Still())


def test_hidden_labels_are_predicted_of_the_atlas_too(atlases, target):
    """What is registered are the predictions of both, what is carried over the atlas's own label."""
    pairs, seen = [], []

    class Constant(torch.nn.Module):
        def forward(self, image):
            seen.append(image)
            shares = torch.tensor([0.5, 0.3, 0.2]).view(1, 1, 3, 1, 1, 1)
            return shares.expand(len(image), 1, 3, *image.shape[2:])

    class Seen(Still):
        def forward(self, image):
            pairs.append(image)
            return super().forward(image)

    found = AtlasSegmentation(atlases, choice="before", refined_candidates=2, memberships=Constant(), hidden=True)
    result = found(target["image"], Seen())
    assert [image.shape[0] for image in seen] == [1, 2]
    assert torch.equal(seen[1], pairs[0][:, :1]), "the atlases' images"
    shares = torch.tensor([0.3, 0.2]).view(1, 2, 1, 1, 1)
    assert pairs[0].shape[1] == 6 and (pairs[0][:, [1, 2]] == shares).all() and (pairs[0][:, [4, 5]] == shares).all()
    own = atlases.label[atlases.names.index(result.names[0])].float()
    assert torch.allclose(result.memberships[0, 1:], own, atol=1e-3)
