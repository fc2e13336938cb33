import imageio.v3 as iio
import numpy as np
import pytest
import torch

from cardiac_motion.cine.square import FrameSquare
from cardiac_motion.core.errors import InputError
from cardiac_motion.training.view_frames import ViewFrames, disturb_frame, folder_frames, simulate_frames
from cardiac_motion.ventricle.views import VIEWS
from tests.recorded_frames import write_patients


def picture(seed):
    rng = np.random.default_rng(seed)
    frame = np.zeros((60, 80), dtype=np.uint8)
    frame[5:55, 10:70] = rng.integers(20, 200, (50, 60))
    return frame


@pytest.fixture
def own(tmp_path):
    """A folder a view, with a picture in one and a cine in the other."""
    (tmp_path / "own/apical_2ch").mkdir(parents=True)
    (tmp_path / "own/other").mkdir()
    iio.imwrite(tmp_path / "own/apical_2ch/a.png", picture(0))
    iio.imwrite(tmp_path / "own/other/b.gif", np.stack([picture(k) for k in range(12)]))
    return tmp_path / "own"


def test_a_folder_a_view(own):
    found = folder_frames(own)
    assert [VIEWS[f.view] for f in found] == ["apical_2ch", *["other"] * 8]
    assert found[0].frame.square == FrameSquare((60, 80), 0, 10, 60, 160)
    dataset = ViewFrames(images=str(own), size=64)
    assert len(dataset) == 9 and dataset[0]["image"].shape == (1, 64, 64) and int(dataset[0]["label"]) == 1


def test_own_folders_that_cannot_be_used(own, tmp_path):
    with pytest.raises(InputError, match="expected one subfolder per view"):
        folder_frames(tmp_path / "none")
    (own / "a4c").mkdir()
    with pytest.raises(InputError, match="a4c: no view of that name, expected one of apical_4ch"):
        folder_frames(own)
    (own / "a4c").rename(own / "apical_4ch")
    with pytest.raises(InputError, match="apical_4ch: contains no picture and no cine"):
        folder_frames(own)
    (own / "apical_4ch/bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.png: cannot be read as a picture"):
        folder_frames(own)
    with pytest.raises(InputError, match="no frames of known view"):
        ViewFrames()


def test_simulated_frames_are_kept_and_the_same_again(tmp_path):
    path = tmp_path / "simulated.pt"
    made = simulate_frames(1, 1, 5, path)
    kept = simulate_frames(1, 1, 5, path)
    assert [f.view for f in made] == list(range(8)) == [f.view for f in kept]
    assert all(torch.equal(a.frame.image, b.frame.image) for a, b in zip(made, kept, strict=True))
    assert made[0].frame.image.shape == (160, 160) and made[0].frame.image.float().std() > 10
    with pytest.raises(InputError, match=r"simulated\.pt: simulated with .*remove it or give another path"):
        simulate_frames(2, 1, 5, path)


def test_recorded_frames_count_twice_when_disturbed(tmp_path):
    folder = write_patients(tmp_path / "patients")
    settings = {"folder": str(folder), "split": str(folder / "split.json"), "size": 32}
    plain, both = ViewFrames(**settings), ViewFrames(**settings, disturb=True)
    assert [int(plain[i]["label"]) for i in range(4)] == [0] * 4
    assert [int(both[i]["label"]) for i in range(8)] == [0] * 4 + [7] * 4
    assert torch.equal(both[1]["image"], plain[1]["image"]) and not torch.equal(both[5]["image"], plain[1]["image"])
    again = both[5]["image"]
    assert torch.equal(again, both[5]["image"])
    both.set_epoch(1)
    assert not torch.equal(again, both[5]["image"])


def test_hearts_simulated_from_recorded_frames_are_four_chamber(tmp_path):
    folder = write_patients(tmp_path / "patients")
    dataset = ViewFrames(
        folder=str(folder),
        split=str(folder / "split.json"),
        recorded_hearts=2,
        recorded_frames=2,
        size=32,
        disturb=True,
    )
    sizes = {name: len(part) for name, part in dataset.parts.items()}
    assert sizes == {"recorded": 4, "simulated_from_recorded": 2, "disturbed": 6, "others": 0}
    assert [item.view for item in dataset.frames] == [0] * 6 + [7] * 6


def test_a_disturbed_frame_keeps_its_grey_values():
    image = torch.rand(48, 48)
    for seed in range(6):
        found = disturb_frame(image, np.random.default_rng(seed))
        assert not torch.equal(found, image)
        assert torch.equal(found.flatten().sort().values, image.flatten().sort().values)
