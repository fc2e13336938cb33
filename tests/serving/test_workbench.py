"""A cine in the workbench's workers: a label that came with it is its wall, and a corrected one is written back."""

import shlex
import zipfile

import nibabel
import numpy as np
import pytest

from cardiac_motion.serving import workbench as W
from tests.bundles.running import ROOT
from tests.workbench.serving import there_and_back


@pytest.mark.slow
def test_a_label_of_the_studies_is_the_wall_and_a_corrected_one_replaces_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    source = there_and_back(tmp_path / "cine.nii.gz", 30, (240, 320))
    saved = tmp_path / "labels" / "final" / "cine.nii.gz"
    request = {
        "folder": str(tmp_path / "job"),
        "source": str(source),
        "method": "farneback",
        "edits": {"view": "apical_4ch", "ignore_checks": True},
        "title": "cine.nii.gz",
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
    with zipfile.ZipFile(tmp_path / "labelled" / "take.zip") as archive:
        (name,) = {member.split("/")[0] for member in archive.namelist()}
        words = shlex.split(archive.read(f"{name}/command.txt").decode())
        assert words[words.index("--contour") + 1] == f"{name}/contour.nii.gz"
        assert (
            archive.read(f"{name}/contour.nii.gz") == (tmp_path / "labelled" / "source" / "label.nii.gz").read_bytes()
        )
