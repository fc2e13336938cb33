"""Rendered pairs: the same truth as the simulation's, and a folder that a training reads while it fills."""

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.datasets.rendered import SCENARIOS, Shards, map_arrays, read_pair, render, write_pairs
from cardiac_motion.simulation.sequence import Settings
from cardiac_motion.simulation.ultrasound.recording import RecordingChain
from cardiac_motion.training.flow_pairs import RenderedFlowPairs

SMALL = Settings(scatterers=8_000, shape=(64, 64), probes=("reference",), artefact=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    assert write_pairs(folder, TemplateSource(), SCENARIOS, 1, 3, SMALL, None) == 0
    return folder


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_pairs_whose_truth_holds(folder, scenario):
    (path,) = (folder / scenario).glob("*.npz")
    with np.load(path) as stored:
        pairs, gaps, count = stored["pairs"], stored["gaps"], len(stored["frames"])
    assert len(pairs) == len(gaps) >= 4 and pairs.max() < count and (pairs[:, 0] != pairs[:, 1]).all()
    for number in range(len(pairs)):
        item = read_pair(path, number)
        assert item["image"].shape == (2, 64, 64) and item["field"].shape == (2, 64, 64)
        assert item["mask"].any() and not (item["mask"] * item["ground"]).any()
        there = (item["field"].norm(dim=0) * item["mask"][0]).max()
        assert there <= 60.0
    if scenario != "respiratory":
        assert bool(item["ground"].any()) == (scenario in ("static", "sliding"))


def test_opposite_pairs_undo_each_other(folder):
    """Two pairs of the same frames the other way round: the fields compose to nothing where both are known."""
    (path,) = (folder / "coupled").glob("*.npz")
    with np.load(path) as stored:
        pairs = [tuple(int(k) for k in pair) for pair in stored["pairs"]]
        moves = [float(np.abs(d).max()) for d in stored["ddf"]]
    both = [(a, pairs.index(p[::-1])) for a, p in enumerate(pairs) if p[::-1] in pairs]
    first, second = min(both, key=lambda pair: moves[pair[0]])
    from cardiac_motion.fields.ddf import compose

    there, back = read_pair(path, first), read_pair(path, second)
    left = compose(there["field"][None], back["field"][None])[0].norm(dim=0)
    known = torch.nn.functional.max_pool2d(1 - there["mask"] * back["mask"], 9, 1, 4)[0] == 0
    assert left[known].median() < 0.05 and left[known].mean() < 0.1


def test_the_same_number_is_the_same_file_and_files_are_kept(folder, bar_names):
    first, again = (render(TemplateSource(), "sliding", 3, 0, SMALL, RecordingChain()) for _ in range(2))
    assert all((first[key] == again[key]).all() for key in first)
    path = next((folder / "static").glob("*.npz"))
    before = path.stat().st_mtime_ns
    write_pairs(folder, TemplateSource(), ["static"], 1, 3, SMALL, None)
    assert path.stat().st_mtime_ns == before and bar_names == ["pairs"]


def test_a_training_reads_them_while_more_are_rendered(folder):
    pairs = RenderedFlowPairs(
        folder, {"static": 1.0, "speckle": 3.0}, 40, augmentation={"crop": [48, 48], "flip": True}
    )
    item = pairs[0]
    assert item["image"].shape == (2, 48, 48) and set(item) == {"image", "field", "mask", "spacing"}
    assert torch.equal(item["image"], pairs[0]["image"])
    shards = Shards(folder, {"static": 1.0, "speckle": 3.0})
    rng = np.random.default_rng(0)
    scenarios = [shards.draw(rng)[0] for _ in range(40)]
    assert 20 <= scenarios.count("speckle") <= 38
    write_pairs(folder, TemplateSource(), ["speckle"], 2, 3, SMALL, None)
    pairs.set_epoch(1)
    assert len(pairs.shards.files["speckle"]) == 2


def test_still_ground_counts_less_than_the_wall(folder):
    item = RenderedFlowPairs(folder, {"static": 1.0}, 4, identity=0.0, augmentation={"ground": 0.25})[1]
    assert {round(float(v), 3) for v in item["mask"].unique()} == {0.0, 0.25, 1.0}
    assert item["field"][:, item["mask"][0] == 0.25].abs().max() < 1e-3


def test_unmoved_pairs(folder):
    item = RenderedFlowPairs(folder, None, 4, identity=1.0)[2]
    assert torch.equal(item["image"][0], item["image"][1]) and not item["field"].any() and item["mask"].all()


@pytest.mark.parametrize(
    ("gaps", "backward", "numbers"),
    [(None, True, {0, 1, 2, 3}), ([1], True, {0, 1}), ([1], False, {0}), (None, False, {0, 2}), ([2, 4], False, {2})],
)
def test_gaps_and_directions_are_those_asked_for(tmp_path, gaps, backward, numbers):
    """Table I of c-PWC-Net: the field of each pair is its number."""
    bits = np.packbits(np.ones((4, 8, 8), bool), axis=-1)
    arrays = {
        "frames": np.zeros((3, 8, 8), np.uint8),
        "pairs": np.array([[0, 1], [1, 0], [0, 2], [2, 0]]),
        "gaps": np.array([1, 1, 2, 2]),
        "ddf": np.arange(4, dtype=np.float16)[:, None, None, None] * np.ones((1, 2, 8, 8), np.float16),
        "mask": bits,
        "ground": bits,
        "free": bits[0],
        "spacing": np.ones(2, np.float32),
    }
    (tmp_path / "static").mkdir()
    np.savez(tmp_path / "static" / "0000_000000.npz", **arrays)
    pairs = RenderedFlowPairs(tmp_path, {"static": 1.0}, 60, gaps, backward, identity=0.0)
    assert {int(pairs[k]["field"].max()) for k in range(60)} == numbers


def test_gaps_that_no_pair_has_are_refused(folder):
    with pytest.raises(InputError, match=r"no pair with gaps \[77\]"):
        Shards(folder, None, gaps=[77]).draw(np.random.default_rng(0))


@pytest.mark.parametrize("scenario", ["flat", "hearts"])
def test_unknown_scenarios_are_refused(tmp_path, scenario):
    with pytest.raises(InputError, match=scenario):
        write_pairs(tmp_path, TemplateSource(), [scenario], 1)


def test_a_folder_without_pairs_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="contains no rendered pairs"):
        Shards(tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"broken\.npz"):
        read_pair(tmp_path / "broken.npz", 0)


def test_mapped_arrays_are_those_of_the_file(folder, tmp_path):
    for scenario in ("static", "speckle"):
        path = next((folder / scenario).glob("*.npz"))
        mapped = map_arrays(path)
        with np.load(path) as stored:
            assert set(mapped) == set(stored.files)
            assert all(np.array_equal(mapped[key], stored[key]) for key in stored.files)
    with np.load(path) as stored:
        np.savez_compressed(tmp_path / "small.npz", **stored)
    with pytest.raises(ValueError, match="compressed"):
        map_arrays(tmp_path / "small.npz")
    with pytest.raises(InputError, match="cannot be read as a file of rendered pairs"):
        read_pair(tmp_path / "small.npz", 0)


def test_a_window_is_a_piece_of_the_pair_around_known_motion(folder):
    (path,) = (folder / "coupled").glob("*.npz")
    wholes = [read_pair(path, number) for number in range(len(map_arrays(path)["pairs"]))]
    for seed in range(8):
        piece = read_pair(path, np.random.default_rng(seed), window=(24, 20))
        assert piece["image"].shape == (2, 24, 20) and piece["field"].shape == (2, 24, 20) and piece["mask"].any()
        places = [
            (r, c) for whole in wholes for r in range(41) for c in range(45)
            if torch.equal(whole["image"][:, r, c : c + 20], piece["image"][:, 0])
            and torch.equal(whole["field"][..., r : r + 24, c : c + 20], piece["field"])
            and torch.equal(whole["mask"][..., r : r + 24, c : c + 20], piece["mask"])
        ]  # fmt: skip
        assert places
    whole = read_pair(path, np.random.default_rng(0), window=(200, 200))
    assert whole["image"].shape == (2, 64, 64), "a window larger than the frames is all of them"


def test_a_beat_of_more_frames_moves_less_between_them():
    moved = []
    for beat in (16, 64):
        far = []
        for number in range(4):
            arrays = render(TemplateSource(), "coupled", 5, number, SMALL, None, beat)
            known = np.unpackbits(arrays["mask"], axis=-1)[:, None]
            length = np.linalg.norm(arrays["ddf"].astype(float), axis=1, keepdims=True)
            far.append((length * known).sum() / known.sum())
        moved.append(np.mean(far))
    assert moved[1] < 0.6 * moved[0]
