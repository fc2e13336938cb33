"""Scores against the truth: distances of contours that are known, and a perfect field on a simulated case."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.cine.read import read_two_frames
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.evaluation.truth import contour_distances, label_scores, truth_scores
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.write import write_cases


def test_distances_of_parallel_lines():
    line = np.stack([np.linspace(0, 50, 60), np.zeros(60)], -1)
    assert contour_distances(line, line + [0, 3]) == pytest.approx((3, 3))
    bent = line + np.stack([np.zeros(60), np.linspace(0, 4, 60)], -1)
    mean, hausdorff = contour_distances(line, bent)
    assert mean == pytest.approx(2, abs=0.05) and hausdorff == pytest.approx(4, abs=0.05)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    settings = settings_from({"scatterers": 5000, "shape": [96, 96], "artefact": 0.0, "probes": ["reference"]})
    split = {"test": ["apical_4ch"]}
    assert not write_cases(folder, TemplateSource(views=["apical_4ch"]), 1, 16, 3, settings, split)
    return CineCases(datalist=str(folder / "datalist.json"), fold="test", dataset_dir=str(folder))[0]


def test_the_truth_scores_nothing_wrong(case):
    found = truth_scores(case, load_ddf(case.entry.further["ddf"]))
    metrics = found.metrics
    assert metrics["epe_mm"] < 1e-5 and len(found.pairs["epe_mm"]) == 15
    assert metrics["epe_ed_es_mm"] < 0.3 and metrics["mean_contour_distance_mm"] < 0.3
    assert metrics["gls_absolute_error"] < 0.7 and metrics["long_axis_strain_absolute_error"] < 0.7


def test_no_motion_at_all_is_as_wrong_as_the_motion_is_large(case):
    truth = load_ddf(case.entry.further["ddf"])
    metrics = truth_scores(case, torch.zeros_like(truth)).metrics
    strain = json.loads(Path(case.entry.further["summary"]).read_text(encoding="utf-8"))["strain"]
    assert metrics["gls_error"] == pytest.approx(-100 * min(strain["global"]), abs=0.6)
    assert metrics["epe_ed_es_mm"] > 1 and metrics["epe_mm"] > 0.05
    spacing = case.meta.spacing[0]
    assert metrics["epe_mm"] == pytest.approx(metrics["epe_px"] * spacing, rel=1e-3)


def test_cases_without_truth_are_left_alone_and_wrong_sizes_refused(case):
    assert truth_scores(replace(case, entry=CineEntry("x", "x")), torch.zeros(1)) == Scores()
    with pytest.raises(InputError, match=r"shape \(15, 2, 96, 96\) differs"):
        truth_scores(case, torch.zeros(15, 2, 40, 96))
    broken = replace(case, entry=replace(case.entry, further={**case.entry.further, "mask": "none.nii.gz"}))
    with pytest.raises(InputError, match=r"none\.nii\.gz: cannot be read as a mask"):
        truth_scores(broken, torch.zeros(15, 2, 96, 96))


@pytest.fixture
def labelled_pair(tmp_path):
    """A heart at end-diastole and 6 pixels lower at end-systole, as two labelled frames of 0.5 mm/px, and its entry."""
    rows, columns = np.mgrid[:120, :100].astype(float)
    for phase, shift in (("ed", 0), ("es", 6)):
        inner = np.hypot((rows - 40 - shift) / 32, (columns - 50) / 16)
        outer = np.hypot((rows - 40 - shift) / 40, (columns - 50) / 24)
        label = np.where(inner < 1, 1, np.where(outer < 1, 2, 0))
        label[rows < 30 + shift] = np.where((label == 1) & (rows > 15 + shift), 3, 0)[rows < 30 + shift]
        image = (60 * (label == 2) + 40 * np.random.default_rng(0).random((120, 100))).astype(np.uint8)
        for name, values in ((f"{phase}.nii.gz", image), (f"{phase}_gt.nii.gz", label.astype(np.uint8))):
            nibabel.save(nibabel.Nifti1Image(values.T, np.diag([0.5, 0.5, 1, 1])), tmp_path / name)
    entry = {
        "case": "heart", "image": "ed.nii.gz", "es_image": "es.nii.gz", "ed_label": "ed_gt.nii.gz",
        "es_label": "es_gt.nii.gz",
    }  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps({"validation": [entry]}), encoding="utf-8")
    return CineCases(datalist=str(tmp_path / "list.json"), fold="validation", dataset_dir=str(tmp_path))[0]


def carried(case, ddf):
    return label_scores(case, ddf).metrics


def test_labels_and_endocardium_are_carried_by_a_shift(labelled_pair, tmp_path):
    assert labelled_pair.image.shape == (1, 2, 120, 100) and labelled_pair.meta.spacing == (0.5, 0.5)
    shift = torch.zeros(1, 2, 120, 100)
    shift[:, 0] = -6.0  # the frame at end-systole looks 6 rows up
    good, none = (carried(labelled_pair, ddf) for ddf in (shift, torch.zeros_like(shift)))
    assert min(good[f"dice_{name}"] for name in ("cavity", "myocardium", "atrium")) > 0.97
    assert good["mean_contour_distance_mm"] < 0.1 and good["hausdorff_mm"] < 0.5
    assert (
        none["dice_myocardium"] < 0.9
        and none["mean_contour_distance_mm"] > 0.5
        and none["hausdorff_mm"] == pytest.approx(3, abs=0.3)
    )
    half = carried(labelled_pair, torch.cat([shift / 2, shift / 2]))
    assert half["dice_cavity"] > 0.97 and half["mean_contour_distance_mm"] < 0.1


def test_two_frames_that_do_not_fit_are_refused(labelled_pair, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((50, 50), np.uint8), np.eye(4)), tmp_path / "small.nii.gz")
    with pytest.raises(InputError, match=r"small\.nii\.gz: shape \(50, 50\)"):
        read_two_frames(tmp_path / "ed.nii.gz", tmp_path / "small.nii.gz")
    with pytest.raises(InputError, match=r"none\.nii\.gz: cannot be read as a frame"):
        read_two_frames(tmp_path / "none.nii.gz", tmp_path / "ed.nii.gz")
    entry = replace(
        labelled_pair.entry, further={**labelled_pair.entry.further, "es_label": str(tmp_path / "small.nii.gz")}
    )
    with pytest.raises(InputError, match=r"the labels have shape \(50, 50\)"):
        carried(replace(labelled_pair, entry=entry), torch.zeros(1, 2, 120, 100))
