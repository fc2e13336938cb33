"""Pairs of volumes: who is paired with whom, and fields that explain what they made."""

import pytest
import torch

from cardiac_motion.fields.ddf import warp
from cardiac_motion.registration.losses import FieldLoss, LabelledLoss
from cardiac_motion.registration.overlap import warped_dice
from cardiac_motion.training.pairs import DeformedPairs, SubjectPairs, Subjects


@pytest.fixture(scope="module")
def subjects():
    return Subjects(labelled=True)


def test_subject_pairs_follow_the_seed_the_epoch_and_the_index(subjects):
    pairs = SubjectPairs(subjects, length=5, deformation=1.0, gamma=0.2, seed=3)
    first = pairs[1]
    assert first["image"].shape == (2, 48, 64, 48)
    assert first["mask"].shape == (1, 48, 64, 48) and first["mask"].dtype == torch.bool
    assert first["label"].shape == (2, 2, 48, 64, 48)
    assert torch.equal(first["image"], pairs[1]["image"])
    assert not torch.equal(first["image"], pairs[2]["image"])
    pairs.set_epoch(1)
    assert not torch.equal(first["image"], pairs[1]["image"])


def test_a_pair_is_never_one_subject_twice_and_labels_stay_at_home_when_not_asked(subjects):
    pairs = SubjectPairs(subjects, length=30, labelled=False)
    for index in range(30):
        pair = pairs[index]
        assert not torch.equal(*pair["image"]) and "label" not in pair


def test_a_simulated_field_explains_its_pair(subjects):
    pair = DeformedPairs(subjects, noise=0.0)[0]
    loss = FieldLoss(regression=1.0, radius=2, regularisation_weight=0.0)
    batch = {key: value[None] for key, value in pair.items()}
    at_truth = loss(batch["field"], **batch)
    at_zero = loss(torch.zeros_like(batch["field"]), **batch)
    assert at_truth < -0.9 < at_zero
    with pytest.raises(ValueError, match="simulated field"):
        loss(batch["field"], batch["image"])


def test_the_labelled_loss_rewards_labels_that_meet(subjects):
    label = subjects.label[:1]
    moving = label.roll(2, dims=2)
    image = torch.cat([subjects.image[:1].roll(2, dims=2), subjects.image[:1]], 1)
    pair = {"image": image, "label": torch.stack([moving, label], 1)}
    loss = LabelledLoss(overlap=1.0, radius=2, regularisation_weight=0.0)
    shift = torch.zeros(1, 3, 48, 64, 48)
    shift[:, 0] = 2
    assert loss(shift, **pair) < loss(torch.zeros_like(shift), **pair) - 0.1
    assert warped_dice(shift, **pair).min() > 0.99
    with pytest.raises(ValueError, match="needs the labels"):
        loss(shift, image)


def few(values):
    """Subjects of one grey value each."""
    found = object.__new__(Subjects)
    found.image = torch.tensor(values).view(-1, 1, 1, 1, 1).expand(-1, 1, 8, 8, 8)
    found.mask, found.label = torch.ones(len(values), 1, 8, 8, 8, dtype=torch.bool), None
    return found


def test_of_three_subjects_every_ordered_pair_comes_and_no_subject_with_itself():
    pairs = SubjectPairs(few([0.1, 0.2, 0.3]), length=200)
    found = {tuple(round(float(side), 2) for side in pairs[k]["image"][:, 0, 0, 0]) for k in range(200)}
    assert found == {(a, b) for a in (0.1, 0.2, 0.3) for b in (0.1, 0.2, 0.3) if a != b}


def test_moving_and_fixed_of_two_groups():
    pairs = SubjectPairs(few([0.1, 0.2]), few([0.7, 0.8, 0.9]), length=100)
    found = {tuple(round(float(side), 2) for side in pairs[k]["image"][:, 0, 0, 0]) for k in range(100)}
    assert found == {(a, b) for a in (0.1, 0.2) for b in (0.7, 0.8, 0.9)}


def test_gamma_is_one_exponent_a_side_and_without_it_nothing_is_changed():
    subjects = few([0.25, 0.5])
    for index in range(20):
        for side in SubjectPairs(subjects, gamma=0.2, length=20)[index]["image"]:
            assert float(side.max() - side.min()) == 0 and 0 < float(side[0, 0, 0]) < 1
    plain = SubjectPairs(subjects, length=1)[0]
    assert set(plain["image"].flatten().tolist()) == {0.25, 0.5} and bool(plain["mask"].all())


def test_the_fixed_side_of_a_simulated_pair_is_the_moving_one_under_its_field(subjects):
    pair = DeformedPairs(subjects, deformation=1.5, noise=0.0, seed=4)[2]
    moving, fixed = pair["image"]
    torch.testing.assert_close(warp(moving[None, None], pair["field"][None])[0, 0], fixed)
    assert 0.5 < float(pair["field"].std()) < 3, "voxels, about the deviation that was set"
    noisy = DeformedPairs(subjects, deformation=1.5, noise=0.1, seed=4)[2]["image"]
    assert float((noisy - pair["image"]).std()) == pytest.approx(0.1, rel=0.02)
