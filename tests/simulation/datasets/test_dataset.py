import pytest
import torch
from torch.utils.data import DataLoader

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.simulation.datasets.dataset import SimulatedPairs, TemplateSource

SETTINGS = {"shape": [64, 64], "scatterers": 8000, "artefact": 0.2}


def pairs(**changes):
    return SimulatedPairs(**{"pairs": 3, "length": 2, "frames": 12, "settings": SETTINGS, "seed": 4, **changes})


def test_items_are_what_a_network_takes():
    item = next(iter(pairs()))
    assert item["image"].shape == (2, 64, 64) and item["ddf"].shape == (2, 64, 64)
    assert item["mask"].shape == (1, 64, 64) and item["spacing"].shape == (2,)
    assert all(value.dtype == torch.float32 for value in item.values())
    assert 0 <= item["image"].min() and item["image"].max() <= 1
    assert set(item["mask"].unique().tolist()) <= {0.0, 1.0}


def test_the_field_brings_the_moving_frame_onto_the_fixed_one():
    before = after = 0.0
    for item in pairs(settings={**SETTINGS, "artefact": 0.0, "scatterers": 30_000}, gaps=(3, 4), pairs=6):
        image, mask = item["image"][:, None, None], item["mask"][None] > 0
        before += float((image[0] - image[1])[mask].square().mean())
        after += float((warp(image[0], item["ddf"][None]) - image[1])[mask].square().mean())
    assert after < 0.5 * before


def test_the_same_seed_gives_the_same_pairs_and_another_epoch_others():
    first, second, other = pairs(), pairs(), pairs()
    other.set_epoch(1)
    for a, b, c in zip(first, second, other, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert not torch.equal(a["image"], c["image"])


def test_workers_share_the_patients_out():
    alone = [item["ddf"] for item in pairs(length=4, pairs=2)]
    shared = [item["ddf"][0] for item in DataLoader(pairs(length=4, pairs=2), batch_size=1, num_workers=2)]
    assert len(alone) == len(shared) == 8
    assert sum(any(torch.equal(a, b) for b in shared) for a in alone) == 8


def test_pairs_lie_one_to_four_frames_apart_in_both_directions(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "cardiac_motion.simulation.sequence.Simulation.pair", lambda self, fixed, moving: asked.append(fixed - moving)
    )
    list(pairs(pairs=60, length=1))
    assert set(asked) == {-4, -3, -2, -1, 1, 2, 3, 4}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pairs_are_made_on_a_gpu_too():
    item = next(iter(pairs(device="cuda")))
    assert all(value.device.type == "cuda" for value in item.values())
    here = next(iter(pairs()))
    torch.testing.assert_close(item["ddf"].cpu(), here["ddf"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gaps": (0, 4)}, "gaps"),
        ({"gaps": (1, 12)}, "gaps"),
        ({"settings": {"gsl": [-0.2, -0.1]}}, r"gsl.*use some of.*gls"),
        ({"views": ["apical_9ch"]}, "apical_9ch"),
        ({"templates": "/nowhere"}, "no such folder"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(changes, problem):
    with pytest.raises(InputError, match=problem):
        pairs(**changes)


def test_parametric_anatomy_differs_from_patient_to_patient():
    source = TemplateSource(views=["apical_2ch", "other"])
    assert [source.name(k) for k in range(3)] == ["apical_2ch", "other", "apical_2ch"]
    first, third = source(0, (1,)), source(2, (1,))
    assert first.depth != third.depth
