"""``blood.json``: a contrast cine with its pool to velocities, vortices, files and a page."""

import csv
import json
import xml.etree.ElementTree as ElementTree

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from scipy import ndimage

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import input_error_in
from cardiac_motion.fields.field_files import load_ddf
from tests.bundles.running import run_here
from tests.conftest import moving_cine

CONFIGS = ("nmsr_echo/configs/inference.json", "nmsr_echo/configs/blood.json")
QUICK = {"mlflow": False, "scales": [0.5, 1.0], "steps": [15, 10], "regularisation_weight": [0.3, 0.1]}


def disc(radius=26, frames=4, shift=0):
    rows, columns = np.mgrid[:72, :80]
    inside = np.hypot(rows - 35.5, columns - 39.5 - shift) < radius
    return np.repeat(inside[None], frames, 0)


def save_pool(path, pool):
    nibabel.save(nibabel.Nifti1Image(pool.astype(np.uint8).transpose(2, 1, 0), np.eye(4)), path)
    return str(path)


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """Speckle that rotates about the middle, counter-clockwise or not, and its pool."""
    folder = tmp_path_factory.mktemp("turning")
    frames, angle = moving_cine()
    meta = {"spacing": (0.5, 0.5), "frame_times": [0.01 * t for t in range(len(frames))]}
    write_cine(folder / "cine.nii.gz", MetaTensor(frames[None], meta=meta))
    return folder / "cine.nii.gz", save_pool(folder / "pool.nii.gz", disc()), angle


@pytest.fixture(scope="module")
def folder(turning, tmp_path_factory):
    path, pool, _ = turning
    out = tmp_path_factory.mktemp("out")
    run_here(*CONFIGS, input=str(path), blood_mask=pool, output_dir=str(out / "blood"), **QUICK)
    return out / "blood" / "cine"


def test_a_turning_pool_is_one_vortex_of_its_rate(folder, turning):
    angle = turning[2]
    with open(folder / "flow.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    rate = 2 * angle / 0.01
    # points turn from +row towards … as tests.conftest.rotation says: (row, column) by R(angle)
    row, column = (np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [0.0, 1.0]).tolist()
    name = "ccw" if row < 0 else "cw"  # what is right of the middle goes up
    assert column > 0
    for found in rows:
        assert float(found[f"{name}_intensity"]) == pytest.approx(rate, rel=0.15)
        assert float(found[f"{name}_row"]) == pytest.approx(35.5, abs=3)
        assert float(found[f"{name}_column"]) == pytest.approx(39.5, abs=3)


def test_the_files(folder):
    velocity = load_ddf(folder / "velocity.nii.gz")
    assert velocity.shape == (3, 2, 72, 80) and float(velocity.norm(dim=1).max()) < 0.2
    assert nibabel.load(folder / "vorticity.nii.gz").shape == (80, 72, 3)
    series = ElementTree.parse(folder / "vtk" / "flow.pvd").getroot().iter("DataSet")
    assert [d.get("file") for d in series] == [f"flow_{t:04d}.vti" for t in range(3)]
    for name, kind in (("flow_0000.vti", "ImageData"), ("pathlines.vtp", "PolyData"), ("streamlines.vtp", "PolyData")):
        assert ElementTree.parse(folder / "vtk" / name).getroot().get("type") == kind
    for name in ("flow.png", "vorticity.png", "curves.png", "particles.png"):
        assert np.asarray(Image.open(folder / name)).std() > 5
    assert (folder / "particles.mp4").stat().st_size > 1000
    page = (folder / "flow.html").read_text(encoding="utf-8")
    assert "Research" in page or "research" in page
    assert page.count("data:image/png") == 3 and "strongest vortex" in page
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["velocity"].startswith("m/s") and summary["metrics"]["mean_speed"] > 0


@pytest.mark.parametrize(
    "pool, words",
    [
        (disc() * 0, "no blood pool in frame 0"),
        (disc(frames=3), "in 3 frames, the cine 80 × 72 in 4"),
        (disc()[:, :60], "80 × 60 pixels"),
    ],
)
def test_bad_pools_are_one_line(turning, tmp_path, pool, words):
    path = save_pool(tmp_path / "pool.nii.gz", pool)
    with pytest.raises(RuntimeError) as caught:
        run_here(*CONFIGS, input=str(turning[0]), blood_mask=path, output_dir=str(tmp_path / "out"), **QUICK)
    error = str(input_error_in(caught.value))
    assert "\n" not in error and words in error
    assert not (tmp_path / "out" / "cine").exists()


def run_on(tmp_path, frames, **options):
    """Run ``blood.json`` on a cine ``[T, H, W]`` of 100 Hz; the notes of its summary."""
    meta = {"spacing": (0.5, 0.5), "frame_times": [0.01 * t for t in range(len(frames))]}
    write_cine(tmp_path / "cine.nii.gz", MetaTensor(frames[None], meta=meta))
    options = {**QUICK, "save_figures": False, "save_fields": False, **options}
    run_here(*CONFIGS, input=str(tmp_path / "cine.nii.gz"), output_dir=str(tmp_path / "out"), **options)
    return json.loads((tmp_path / "out" / "cine" / "summary.json").read_text(encoding="utf-8"))["notes"]


def test_a_pool_that_leaves_the_sector_is_one_line(tmp_path):
    frames = moving_cine()[0] * torch.from_numpy(disc(34))
    path = save_pool(tmp_path / "pool.nii.gz", disc(26, shift=22))
    with pytest.raises(RuntimeError) as caught:
        run_on(tmp_path, frames, blood_mask=path)
    assert "of the blood pool lies outside the sector in frame 0" in str(input_error_in(caught.value))


@pytest.mark.parametrize("key", ["ed_mask", "es_mask"])
def test_a_mask_of_another_size_is_one_line(tmp_path, key):
    masks = {name: tmp_path / f"{name}.png" for name in ("ed_mask", "es_mask")}
    for name, path in masks.items():
        mask = disc()[0, :60] if name == key else disc()[0]
        Image.fromarray((255 * mask).astype(np.uint8)).save(path)
    with pytest.raises(RuntimeError) as caught:
        run_on(tmp_path, moving_cine()[0], ed=0, es=3, **{name: str(path) for name, path in masks.items()})
    error = str(input_error_in(caught.value))
    assert "\n" not in error and f"{key}.png" in error and "60" in error


def test_frames_that_nothing_connects_are_said(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.stack([ndimage.gaussian_filter(rng.random((72, 80)), 1.6) for _ in range(3)])
    frames = torch.from_numpy((frames - frames.min()) / (frames.max() - frames.min())).float()
    notes = run_on(tmp_path, frames, blood_mask=save_pool(tmp_path / "pool.nii.gz", disc(frames=3)))
    assert any("match poorly" in note and "frame rate of 100 Hz" in note for note in notes)


def test_what_is_tracked_without_contrast_is_said(tmp_path):
    frames = moving_cine()[0] * torch.where(torch.from_numpy(disc()), 0.2, 1.0)
    notes = run_on(tmp_path, frames, blood_mask=save_pool(tmp_path / "pool.nii.gz", disc()))
    assert any("No contrast agent is visible" in note and "clutter" in note for note in notes)


def test_a_pool_that_was_segmented_is_said(tmp_path, monkeypatch):
    from cardiac_motion.lv_blood_flow import blood_evaluator as evaluator

    memberships = torch.from_numpy(np.stack([~disc(), disc()], 1)).float()
    monkeypatch.setattr(evaluator, "load_segmentation", lambda path: torch.nn.Identity())
    monkeypatch.setattr(evaluator, "segment_cine", lambda frames, network: memberships)
    notes = run_on(tmp_path, moving_cine()[0], segmentation="a.pt")
    assert "segmented by a network trained without contrast" in notes[0]
