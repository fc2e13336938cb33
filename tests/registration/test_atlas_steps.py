"""Which atlases are chosen, how their labels are fused, and where is looked: small volumes made by hand."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.atlas import AT_ONCE, Atlases, AtlasSegmentation, similarity
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult

SIZE = (16, 14, 12)


def texture(seed):
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def mixed(target, other, share):
    return share * target + (1 - share) * other


class Made(Atlases):
    """Atlases of given volumes; each is labelled 1 in its own block of rows, and 2 in the block after it."""

    def __init__(self, image, blocks=None):
        self.image = image
        self.names = [f"a{k}" for k in range(len(image))]
        self.affines = [np.diag([k + 1.0, 1, 1, 1]) for k in range(len(image))]
        self.label = torch.zeros(len(image), 2, *SIZE, dtype=torch.float16)
        for k, first in enumerate(blocks or [4] * len(image)):
            self.label[k, 0, first : first + 3] = 1
            self.label[k, 1, first + 3 : first + 6] = 1


TARGET = texture(0)
SHARES = (0.2, 0.9, 0.5, 0.7, 0.3)  # of the target in each atlas: the order is 1, 3, 2, 4, 0


@pytest.fixture
def atlases():
    return Made(torch.cat([mixed(TARGET, texture(k + 1), share) for k, share in enumerate(SHARES)]))


class Still(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, image):
        self.seen.append(image)
        return torch.zeros(len(image), 3, *image.shape[2:])


def order_of(selector, atlases, **settings):
    return AtlasSegmentation(atlases, selector=selector, **settings)(TARGET, Still()).names


def test_similar_atlases_come_first(atlases):
    found = AtlasSegmentation(atlases, choice="before", n_atlases=5)(TARGET, Still())
    assert found.names == ["a1", "a3", "a2", "a4", "a0"]
    assert found.lncc2 == sorted(found.lncc2, reverse=True) and found.lncc2[0] > 0.8 > 0.2 > found.lncc2[-1]
    assert found.affine[0, 0] == 2.0 and found.ddf.shape == (5, 3, *SIZE) and found.warped.shape == (5, 1, *SIZE)
    torch.testing.assert_close(found.warped, atlases.image[[1, 3, 2, 4, 0]])
    assert found.choice_seconds > 0 and found.registration_seconds > 0


def test_one_is_taken_where_nothing_is_said(atlases):
    made = AtlasSegmentation(atlases)
    assert (made.choice, made.candidates, made.refined_candidates, made.n_atlases, made.fusion) == (
        "after",
        20,
        1,
        1,
        "joint",
    )
    assert (made.radius, made.sharpness, made.region, made.crop) == (2, 4.0, None, False)
    assert isinstance(made.inferer, SimpleInferer) and made(TARGET, Still()).names == ["a1"]


class Spoils(nn.Module):
    """Shifts the pairs of the given atlases out of place, and leaves the others."""

    def __init__(self, atlases, *which):
        super().__init__()
        self.spoilt, self.seen = atlases.image[list(which)], []

    def forward(self, image):
        self.seen.append(len(image))
        bad = torch.tensor([any(torch.equal(pair[:1], one) for one in self.spoilt) for pair in image])
        return 5.0 * bad.view(-1, 1, 1, 1, 1) * torch.ones(len(image), 3, *image.shape[2:])


def test_after_a_registration_the_order_is_the_selectors(atlases):
    assert order_of(Spoils(atlases, 1), atlases) == ["a3"]
    assert order_of(Spoils(atlases, 1, 3), atlases) == ["a2"]
    # of the two most similar ones before it alone
    assert order_of(Spoils(atlases, 1, 3), atlases, candidates=2)[0] in ("a1", "a3")
    assert order_of(Spoils(atlases, 1, 3), atlases, candidates=3) == ["a2"]
    assert order_of(Spoils(atlases, 1, 3, 2, 4), atlases, candidates=0) == ["a0"], "0 looks at all"
    assert order_of(Spoils(atlases, 1), atlases, choice="before") == ["a1"], "nothing is registered for the choice"


def test_without_a_selector_the_network_that_registers_chooses(atlases):
    network = Spoils(atlases, 1)
    assert AtlasSegmentation(atlases)(TARGET, network).names == ["a3"]
    assert network.seen == [5, 1], "all for the choice, then the one"


def test_of_the_finalists_the_best_after_registration_are_kept(atlases):
    network = Spoils(atlases, 1)
    segmentation = AtlasSegmentation(atlases, choice="before", refined_candidates=3, n_atlases=2)
    assert segmentation(TARGET, network).names == ["a3", "a2"] and network.seen == [3]
    assert AtlasSegmentation(atlases, choice="before", refined_candidates=1, n_atlases=2)(TARGET, Still()).names == [
        "a1",
        "a3",
    ]
    few = AtlasSegmentation(atlases, refined_candidates=4, candidates=2, n_atlases=4)(TARGET, Still())
    assert len(few.names) == 4, "as many candidates as finalists"


def test_more_atlases_than_are_looked_at_at_once():
    many = Made(torch.cat([mixed(TARGET, texture(k + 1), 0.1 + 0.04 * k) for k in range(AT_ONCE + 3)]))
    selector = Still()
    found = AtlasSegmentation(many, selector=selector, candidates=0)(TARGET, Still())
    assert found.names == [f"a{AT_ONCE + 2}"] and [len(image) for image in selector.seen] == [8, 3]
    values = similarity(TARGET, many.image, None)
    assert values.shape == (AT_ONCE + 3,) and values.argsort().tolist()[-1] == AT_ONCE + 2
    assert torch.equal(selector.seen[0][:, 1:], TARGET.expand(8, -1, -1, -1, -1)), "the target is the fixed image"


def test_the_target_itself_is_never_chosen(atlases):
    same = Made(torch.cat([TARGET, *atlases.image[:, None][:3]]))
    for choice in ("before", "after"):
        found = AtlasSegmentation(same, choice=choice, n_atlases=4)(TARGET, Still())
        assert found.names == ["a2", "a3", "a1"]
    with pytest.raises(InputError, match=r"^no atlas is left: all are identical to the volume$"):
        AtlasSegmentation(Made(TARGET))(TARGET, Still())


@pytest.mark.parametrize("settings", [{"choice": "best"}, {"fusion": "mean"}, {"n_atlases": 0}])
def test_what_is_no_choice(atlases, settings):
    with pytest.raises(InputError) as raised:
        AtlasSegmentation(atlases, **settings)
    given = {"choice": "after", "fusion": "joint", "n_atlases": 1, **settings}
    assert str(raised.value) == (
        "choice must be one of ('after', 'before'), fusion of ('majority', 'joint'), n_atlases at least 1; got "
        f"{given['choice']}, {given['fusion']}, {given['n_atlases']}"
    )


def test_a_vote_counts_each_atlas_once():
    """Three atlases whose label 1 lies at rows 4 to 6, 5 to 7 and 5 to 7."""
    made = Made(torch.cat([texture(k + 1) for k in range(3)]), [4, 5, 5])
    shares = AtlasSegmentation(made, choice="before", n_atlases=3, fusion="majority")(TARGET, Still()).memberships
    rows = shares[0, :, :, 7, 6]
    third = 1 / 3
    for row, wanted in (
        (3, [1, 0, 0]), (4, [2 * third, third, 0]), (5, [0, 1, 0]), (7, [0, 2 * third, third]), (8, [0, 0, 1]),
        (10, [third, 0, 2 * third]), (11, [1, 0, 0]),
    ):  # fmt: skip
        torch.testing.assert_close(rows[:, row], torch.tensor(wanted, dtype=torch.float32), msg=str(row))


def test_of_two_atlases_the_mean_is_the_vote():
    made = Made(torch.cat([texture(1), texture(2)]), [4, 5])
    made.label *= 0.5
    shares = AtlasSegmentation(made, choice="before", n_atlases=2, fusion="majority")(TARGET, Still()).memberships
    torch.testing.assert_close(shares[0, :, 4, 7, 6], torch.tensor([0.75, 0.25, 0.0]))
    torch.testing.assert_close(shares[0, :, 5, 7, 6], torch.tensor([0.5, 0.5, 0.0]))


def test_joint_fusion_weighs_by_the_power_of_the_local_agreement():
    """One atlas is the target in its upper half, the other in its lower half: each is believed where it agrees."""
    noise = texture(1)
    upper, lower = noise.clone(), noise.clone()
    upper[:, :, :8], lower[:, :, 8:] = TARGET[:, :, :8], TARGET[:, :, 8:]
    made = Made(torch.cat([upper, lower]), [2, 3])
    for sharpness in (2.0, 6.0):
        joint = AtlasSegmentation(made, choice="before", n_atlases=2, sharpness=sharpness)
        found = joint(TARGET, Still())
        shares = found.memberships[0, :, 2, 7, 6]  # row 2: label 1 of the upper one alone
        index = [int(name[1]) for name in found.names]
        agreement = [value_at(TARGET, made.image[[k]], (2, 7, 6)) ** sharpness for k in index]
        wanted = agreement[index.index(0)] / sum(agreement)
        assert shares[1] == pytest.approx(wanted, abs=1e-4) and shares.sum() == pytest.approx(1)
        assert wanted > 0.9


def value_at(a, b, at, radius=2):
    """NCC² of two volumes in the window around a voxel, in double precision."""
    part = (0, 0, *(slice(x - radius, x + radius + 1) for x in at))
    a, b = a[part].double(), b[part].double()
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() ** 2 / (a.square().mean() * b.square().mean()))


def test_labels_beyond_the_picture_are_background():
    class Up(Still):
        def forward(self, image):
            field = super().forward(image)
            field[:, 0] = -4.0
            return field

    made = Made(texture(1), [0])
    shares = AtlasSegmentation(made, choice="before")(TARGET, Up()).memberships
    torch.testing.assert_close(shares[0, :, 1, 7, 6], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(shares[0, :, 5, 7, 6], torch.tensor([0.0, 1.0, 0.0]))


def test_the_region_is_where_enough_atlases_are_labelled_and_a_margin():
    made = Made(torch.cat([texture(k) for k in range(4)]), [4, 4, 4, 8])
    every = lambda region: region[0, 0, :, 3, 3].nonzero().flatten().tolist()  # noqa: E731
    assert every(made.region(0)) == list(range(4, 14)) and made.region(0).shape == (1, 1, *SIZE)
    assert every(made.region(0, 0.25)) == list(range(4, 14)) and every(made.region(0, 0.5)) == list(range(4, 10))
    assert every(made.region(2, 0.5)) == list(range(2, 12)) and made.region(1).dtype == torch.bool
    one = Made(texture(1))
    one.label[:] = 0
    one.label[0, 1, 8, 7, 6] = 1
    assert int(one.region(1).sum()) == 27 and int(one.region(2).sum()) == 125


class Records(RegistrationInferer):
    def __call__(self, inputs, network, mask=None, part=""):
        self.inputs, self.mask, self.part = inputs, mask, part
        return RegistrationResult(torch.zeros(len(inputs), 3, *inputs.shape[2:]))


def test_where_is_looked(atlases):
    inner, mask = Records(), torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    mask[:, :, 2:12, 3:13] = True
    AtlasSegmentation(atlases, inner, choice="before")(TARGET, Still(), mask, "x")
    assert inner.mask is mask and inner.part == "x" and inner.inputs.shape == (1, 2, *SIZE)
    AtlasSegmentation(atlases, inner, choice="before", margin=1)(TARGET, Still(), mask)
    assert torch.equal(inner.mask, mask & atlases.region(1)) and inner.part == ""
    AtlasSegmentation(atlases, inner, choice="before", margin=1)(TARGET, Still())
    assert torch.equal(inner.mask, atlases.region(1))
    AtlasSegmentation(atlases, inner, choice="before", crop=True)(TARGET, Still(), mask, "y")
    assert inner.mask is None and inner.part == "y" and inner.inputs.shape == (1, 2, 10, 10, 12)
    torch.testing.assert_close(inner.inputs[0, 0], atlases.image[1, 0, 2:12, 3:13])
    torch.testing.assert_close(inner.inputs[0, 1], TARGET[0, 0, 2:12, 3:13])


def test_similarity_is_the_mean_over_the_voxels_of_the_mask():
    other = texture(5)
    mask = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    mask[:, :, 3:12, 2:11, 2:10] = True
    moving = torch.where(mask, TARGET, other)
    voxels = [tuple(at) for at in mask[0, 0].nonzero().tolist()]
    wanted = np.mean([value_at(TARGET, moving, at) for at in voxels])
    assert 0.3 < wanted < 0.9 and similarity(TARGET, moving, mask).item() == pytest.approx(wanted, abs=2e-3)
    assert similarity(TARGET, 1 - moving, mask).item() == pytest.approx(wanted, abs=2e-3), "contrast does not matter"
    near = range(1, SIZE[0] - 1), range(1, SIZE[1] - 1), range(1, SIZE[2] - 1)
    wanted = np.mean([value_at(TARGET, other, at, 1) for at in product(*near)])
    assert similarity(TARGET, other, None, 1).item() == pytest.approx(wanted, abs=2e-3)


def test_memberships_go_beside_the_intensities(atlases):
    class Predicts(nn.Module):
        def forward(self, image):
            self.image, self.learning = image, self.training
            return torch.arange(3.0).view(1, 1, 3, 1, 1, 1).expand(len(image), 1, 3, *SIZE)

    inner, network = Records(), Predicts().train()
    AtlasSegmentation(atlases, inner, choice="before", n_atlases=2, memberships=network)(TARGET, Still())
    assert inner.inputs.shape == (2, 6, *SIZE) and not network.learning
    torch.testing.assert_close(network.image, TARGET)
    torch.testing.assert_close(inner.inputs[:, 0], atlases.image[[1, 3], 0])
    torch.testing.assert_close(inner.inputs[:, 1:3], atlases.label[[1, 3]].float())
    torch.testing.assert_close(inner.inputs[:, 3], TARGET[0].expand(2, -1, -1, -1))
    assert inner.inputs[:, 4].unique().tolist() == [1.0] and inner.inputs[:, 5].unique().tolist() == [2.0]


def case_of(entry):
    if entry["case"] == "bad":
        raise InputError("bad.nii.gz: no volume")
    number = float(entry["case"][-1])
    label = torch.full((1, 1, 4, 4, 4), number)
    return SimpleNamespace(
        name=entry["case"],
        common_affine=np.eye(4) * number,
        image=torch.full((1, 1, 4, 4, 4), number / 10),
        label=label,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind).mkdir()
        for name in ("v2.nii.gz", "v1.nii", "._v1.nii", "notes.txt"):
            (tmp_path / kind / name).touch()
    monkeypatch.setattr(
        "cardiac_motion.registration.atlas.one_hot",
        lambda case: torch.nn.functional.one_hot(case.label[:, 0].long(), 3).movedim(-1, 1).float(),
    )
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_names(folder):
    entries = []
    made = Atlases(str(folder), transform=lambda entry: entries.append(entry) or case_of(entry))
    assert made.names == ["v1", "v2"] and len(made) == 2
    assert entries[0] == {
        "case": "v1", "image": str(folder / "imagesTr/v1.nii"), "label": str(folder / "labelsTr/v1.nii"),
    }  # fmt: skip
    assert made.image[:, 0, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2]) and made.label.dtype == torch.float16
    assert made.label[:, :, 0, 0, 0].tolist() == [[1, 0], [0, 1]] and made.affines[1][0, 0] == 2
    assert Atlases(str(folder), n_atlases=1, transform=case_of).names == ["v1"]


def test_a_list_is_read_by_its_fold(folder, tmp_path, caplog):
    path = tmp_path / "list.json"
    path.write_text('{"training": [{"image": "v1.nii", "case": "v1"}, {"image": "b.nii", "case": "bad"}], '
                    '"validation": [{"image": "v2.nii", "case": "v2"}]}', encoding="utf-8")  # fmt: skip
    settings = {"datalist": str(path), "dataset_dir": str(tmp_path), "transform": case_of}
    assert Atlases(**settings).names == ["v1"] and "atlas skipped: bad.nii.gz: no volume" in caplog.text
    assert Atlases(**settings, fold="validation").names == ["v2"]
    path.write_text('{"training": [{"image": "b.nii", "case": "bad"}]}', encoding="utf-8")
    with pytest.raises(InputError, match=f"^{path}: none of 1 atlases can be used$"):
        Atlases(**settings)


def test_without_any_there_are_six_synthetic_ones(folder):
    names = []

    def read(entry):
        names.append(entry["case"])
        return case_of({"case": "v1"})

    assert len(Atlases(transform=read)) == 6 and names == [f"synthetic_atlas_{k}" for k in range(6)]
    with pytest.raises(InputError) as raised:
        Atlases(synthetic=False)
    assert str(raised.value) == (
        "no atlases to register: give a folder with volumes in imagesTr/ and labels of the same names in labelsTr/ "
        "(atlas_dir)"
    )
    assert len(Atlases(str(folder), synthetic=False, transform=case_of)) == 2
    for path in (folder / "imagesTr").glob("*.nii*"):
        path.unlink()
    with pytest.raises(InputError, match=f"^{folder}: no atlases; expected volumes in imagesTr/"):
        Atlases(str(folder), transform=case_of)


def test_bars_are_named(monkeypatch, atlases):
    named = []
    monkeypatch.setattr(
        "cardiac_motion.registration.atlas.show_bar", lambda steps, *words: named.append(words) or steps
    )
    monkeypatch.setattr("cardiac_motion.registration.atlas.one_hot", lambda case: torch.zeros(1, 3, 4, 4, 4))
    Atlases(n_atlases=1, transform=lambda entry: case_of({"case": "v1"}))
    AtlasSegmentation(atlases)(TARGET, Still())
    assert named == [("atlases", "volume"), ("atlas choice", "batch")]
