"""A cine in the workbench's workers: a label that came with it is its wall, and a corrected one is written back."""

import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving import workbench as W
from tests.bundles.running import ROOT
from tests.workbench.serving import there_and_back


def test_handles_move_the_line_by_a_spline_and_leave_the_rest():
    lines = np.stack([np.stack([np.linspace(0, 100, 61), np.full(61, x)], 1) for x in (0.0, 5.0, 10.0)])
    handles = {"at": [0, 0.5, 1], "moved": [[0, 0], [0, 4], [0, 0]]}
    inner = W.move_wall(lines, handles)
    assert inner[0, 30, 1] == pytest.approx(4) and inner[2, 30, 1] == pytest.approx(14)
    np.testing.assert_allclose(inner[:, [0, -1]], lines[:, [0, -1]])
    outer = W.move_wall(lines, {**handles, "border": "epicardium"})
    np.testing.assert_allclose(outer[:, 30, 1], [0, 7, 14])
    for wrong in ({"at": [0, 1]}, {"at": [0, 0.5, 0.5]}, {"moved": [[0, 0]]}):
        with pytest.raises(InputError, match="handles are 3 to 15"):
            W.move_wall(lines, {**handles, **wrong})


@pytest.mark.slow
def test_a_label_of_the_studies_is_the_wall_and_a_corrected_one_replaces_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    source = there_and_back(tmp_path / "cine.nii.gz", 30, (240, 320))
    saved = tmp_path / "labels" / "final" / "cine.nii.gz"
    request = {
        "folder": str(tmp_path / "job"),
        "source": str(source),
        "method": "farneback",
        "edits": {"view": "apical_4ch"},
    }
    (tmp_path / "job").mkdir()
    results = {}
    for name, label in (("plain", None), ("labelled", str(saved))):
        (tmp_path / name).mkdir()
        case = {**request, "case": str(tmp_path / name), "study_label": label}
        W.open_case(case)
        results[name] = W.measure(case)["result"]
        W.take({**case, "study_label": str(saved)})
    labels = nibabel.load(saved)
    assert labels.shape == (320, 240, 30) and set(np.unique(labels.dataobj)) <= {0, 1, 2, 3}
    beat = [results[name]["beats"][0] for name in ("plain", "labelled")]
    ed = str(beat[1]["ed"])
    off = np.abs(np.array(results["plain"]["lines"][ed][0]) - np.array(results["labelled"]["lines"][ed][0]))
    assert off.max() < 3  # pixels: the wall of the label that the first wrote
    words = shlex.split((Path(tmp_path) / "labelled" / "take" / "command.txt").read_text(encoding="utf-8"))
    assert words[words.index("--contour") + 1] == str(tmp_path / "labelled" / "source" / "label.nii.gz")
