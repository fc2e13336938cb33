"""What must stay the same: the variants carry the line with the picture, and recorded cines keep their strain."""

import numpy as np
import pytest
import torch
from pydicom import examples

from cardiac_motion.comparators.dis import DenseInverseSearch
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.validation.metamorphic import (
    HALVED,
    LIMITS,
    VARIANTS,
    Recording,
    beat_strain,
    cut_to_first_beat,
    list_missed,
    load_recording,
    main,
    markdown,
    metamorphic,
    motion_of,
    recording,
    rest_motion,
    rotate,
    save_recording,
)
from cardiac_motion.ventricle.beats import Beat
from tests.bundles.running import ROOT
from tests.conftest import moving_cine

WEIGHTS = ROOT / "bundles/strain_pipeline/models/segmentation.pt"


def blobs(frames=9, size=(60, 72)):
    """A bright spot on every point of a line, in every frame the same."""
    angles = np.linspace(0.3, np.pi - 0.3, 5)
    line = np.stack([30 - 18 * np.sin(angles), 36 - 22 * np.cos(angles)], 1)
    rows, columns = np.mgrid[: size[0], : size[1]]
    picture = sum(np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * 2.5**2)) for r, c in line)
    loop = torch.from_numpy(np.clip(picture, 0, 1)).float().expand(frames, -1, -1)
    return Recording(loop.clone(), line, 1, (Beat(1, 4, 7, True),))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_line_goes_with_the_picture(name):
    found = VARIANTS[name](blobs())
    assert found.frames.ndim == 3 and found.line.shape == (5, 2) and 0 <= float(found.frames.min())
    frame = found.frames[found.start].numpy()
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    for r, c in found.line:
        weight = frame * ((rows - r) ** 2 + (columns - c) ** 2 < 5**2)
        centre = [(weight * axis).sum() / weight.sum() for axis in (rows, columns)]
        assert np.hypot(centre[0] - r, centre[1] - c) < 0.3


@pytest.mark.parametrize("name", VARIANTS)
def test_frames_of_the_beat_go_with_the_cine(name):
    before = blobs()
    before = Recording(before.frames * torch.linspace(0.2, 1, 9)[:, None, None], before.line, 1, before.beats)
    found = VARIANTS[name](before)
    bright = found.frames.amax((1, 2))
    for frame in ("ed", "end"):
        was = float(before.frames[getattr(before.beats[0], frame)].max())
        assert abs(float(bright[getattr(found.beats[0], frame)]) - was) < (0.25 if "noise" in name else 0.12)


def contracting(frames=7):
    """A textured picture that shrinks by 2 % a frame to its middle frame and comes back, and its true fields."""
    cine, _ = moving_cine(1, (96, 112))
    steps = np.concatenate([np.arange(4), [2, 1, 0]])[:frames]
    scale = 0.98**steps
    rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (96, 112)), indexing="ij")
    base = torch.from_numpy(np.stack([columns / 55.5, rows / 47.5], -1)).float()
    images = [
        torch.nn.functional.grid_sample(
            cine[None], base[None] / float(s), mode="bicubic", padding_mode="reflection", align_corners=True
        )[0, 0]
        for s in scale
    ]
    angles = np.linspace(0.2, np.pi - 0.2, 20)
    line = np.stack([47.5 - 20 * np.sin(angles), 55.5 - 25 * np.cos(angles)], 1)
    return Recording(torch.stack(images).clamp(0, 1), line, 0, (Beat(0, 3, 6, True),)), 100 * (0.98**3 - 1)


def test_a_method_that_sees_the_motion_finds_it_in_every_variant():
    cine, truth = contracting()

    def motion(frames):
        pairs = torch.stack([frames[:-1], frames[1:]], 1)
        return DenseInverseSearch(finest=0)(pairs)

    found = metamorphic(cine, motion)
    assert found["gls"] == pytest.approx(truth, abs=0.5)
    assert all(abs(found[name]) < 1 for name in VARIANTS), found
    assert abs(found["drift"]) < 1 and found["still"] < 0.01 and "beats" not in found
    assert list_missed(found) == []


def test_a_method_that_prefers_one_direction_is_found_out():
    cine, _ = contracting()

    def shrinks(frames):
        rows, columns = torch.meshgrid(*(torch.arange(n) - n / 2 for n in frames.shape[1:]), indexing="ij")
        return 0.02 * torch.stack([rows, columns]).expand(len(frames) - 1, -1, -1, -1)

    found = metamorphic(cine, shrinks)
    beyond = list_missed(found)
    assert {"every second frame", "reversed", "drift", "still"} <= set(beyond) and "mirrored" not in beyond
    assert "**" in markdown([{"cine": "c", **found}])
    assert list_missed({"gls": 1.0, "drift": float("nan")}) == ["drift"]


def test_strain_is_against_the_beats_own_diastole():
    length = np.array([12.0, 10.0, 9.0, 8.0, 9.5, 10.5])
    assert beat_strain(length, Beat(1, 3, 5, True)) == pytest.approx(-20)
    assert beat_strain(length[::-1], Beat(4, 2, 0, True)) == pytest.approx(-20), "time backwards"


def test_the_first_beat_alone():
    cine = blobs()
    cut = cut_to_first_beat(cine)
    assert len(cut.frames) == 7 and cut.start == 0 and cut.beats == (Beat(0, 3, 6, True),)
    half = cut_to_first_beat(Recording(cine.frames, cine.line, 1, (Beat(1, 4, 8, False),)))
    assert len(half.frames) == 4 and half.beats[0].es == half.beats[0].end == 3


def test_a_recording_is_kept_and_read_again(tmp_path):
    cine = rotate(blobs())
    save_recording(cine, tmp_path / "kept.npz")
    again = load_recording(tmp_path / "kept.npz")
    assert torch.allclose(again.frames, cine.frames, atol=1e-4) and again.beats == cine.beats
    np.testing.assert_array_equal(again.line, cine.line)


def test_bundles_give_their_motion(tmp_path):
    cine, truth = contracting()
    motion = motion_of(ROOT / "bundles/dis", ["ultrafast.json"], {"speed": "medium"})
    found = metamorphic(cine, motion, ["mirrored"])
    assert found["gls"] == pytest.approx(truth, abs=1)
    with pytest.raises(InputError, match=r"nothing: cannot be run, missing .*inference.json"):
        motion_of(tmp_path / "nothing")


def test_the_command_prints_and_writes_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    main(["--bundle", "dis", "--input", examples.get_path("ybr_color").as_posix(), "--output_dir", str(tmp_path)])
    text = (tmp_path / "dis.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out and "| examples_ybr_color | -" in text
    assert (tmp_path / "recordings/examples_ybr_color_2.npz").is_file() and (tmp_path / "dis.csv").is_file()


CINES = {
    "a4c_normal": "cines/a4c_normal.mp4",
    "A4C": "study_three_apical/A4C",
    "A2C": "study_three_apical/A2C",
    "ALAX": "study_three_apical/ALAX",
}


@pytest.fixture(scope="module")
def recorded(data_dir, tmp_path_factory):
    """Recordings by name, the line drawn once in each; the one that ships with pydicom among them."""
    known = {}

    def get(name):
        if name not in known:
            path = data_dir / CINES[name] if name in CINES else examples.get_path("ybr_color")
            known[name] = recording(path, WEIGHTS)
        return known[name]

    return get


METHODS = {"dis": ("dis", ["full.json"]), "cpwc_echo": ("cpwc_echo", [])}
MISSED = {  # what is beyond its limit, as measured (docs/flow_accuracy.md); nothing else may be
    ("cpwc_echo", "a4c_normal"): set(),
    ("cpwc_echo", "A4C"): {HALVED, "turned by 10°"},  # -2.2, 1.7 points
    ("cpwc_echo", "A2C"): {HALVED, "× 0.75"},  # -1.6, -2.1 points
    ("dis", "a4c_normal"): {HALVED, "reversed", "2 dB noise"},  # -1.1, -1.2, 1.2 points
    ("dis", "A4C"): {HALVED, "× 0.75", "× 1.5", "2 dB noise", "drift", "beats"},  # -2.0, -1.2, 3.4, -1.0, 3.0 %, 2.2
    ("dis", "A2C"): {HALVED, "reversed", "× 1.5", "compressed", "2 dB noise", "drift", "beats", "turned by 10°"},
    # 6.1, 1.9, 1.8, 3.2, 0.8, 12.2 %, 4.8; 1.0, at the limit
}


@pytest.mark.slow
@pytest.mark.parametrize("method, cine", MISSED)
def test_recorded_cines_keep_their_strain(method, cine, recorded, monkeypatch):
    monkeypatch.chdir(ROOT)
    bundle, changes = METHODS[method]
    found = metamorphic(recorded(cine), motion_of(ROOT / "bundles" / bundle, changes))
    assert -30 < found["gls"] < -5
    assert set(list_missed(found)) <= MISSED[method, cine], found


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cine", [*CINES, "pydicom"])
def test_a_still_picture_does_not_move(method, cine, recorded, monkeypatch):
    monkeypatch.chdir(ROOT)
    bundle, changes = METHODS[method]
    found = rest_motion(recorded(cine), motion_of(ROOT / "bundles" / bundle, changes))
    assert found < LIMITS["still"]
