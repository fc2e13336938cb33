"""A contour carried through a motion that is known, its curves and files, and contours that can't be used."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.contour import read_borders, track_contour, write_contour
from cardiac_motion.fields.ddf import identity_grid
from cardiac_motion.ventricle.contours import wall_mask

SIZE = (96, 80)
FRAMES = 5


def contour(points=41):
    angle = np.linspace(0, np.pi, points)
    return np.stack([70 - 45 * np.sin(angle), 40 - 18 * np.cos(angle)], -1)


def shrinking(factor=0.97):
    """Fields of a shrinking about the image's middle: material at x goes to c + factor (x − c)."""
    grid = identity_grid(SIZE, torch.zeros(1))
    middle = torch.tensor([(n - 1) / 2 for n in SIZE]).view(1, 2, 1, 1)
    return ((grid - middle) * (1 / factor - 1)).repeat(FRAMES - 1, 1, 1, 1)


def case(spacing=(0.5, 0.5)):
    cine = MetaTensor(torch.zeros(1, FRAMES, *SIZE), meta={"spacing": spacing, "frame_times": None})
    return CineCase(CineEntry("a", "a.dcm"), torch.zeros(FRAMES - 1, 2, *SIZE), None, cine)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "ed.json").write_text(json.dumps(contour().tolist()), encoding="utf-8")
    return str(tmp_path / "ed.json")


def test_uniform_shrinking_is_its_strain(tmp_path, file):
    found = track_contour(case(), shrinking(), file)
    expected = 0.97 ** np.arange(FRAMES) - 1
    assert found.curves["gls"] == pytest.approx(expected, abs=2e-3)
    assert found.curves["long_axis_strain"] == pytest.approx(expected, abs=2e-3)
    assert found.es == FRAMES - 1
    assert found.scores.metrics["gls"] == pytest.approx(100 * expected[-1], abs=0.2)
    assert found.scores.metrics["mapse_mm"] == pytest.approx(-expected[-1] * 45 * 0.5, abs=0.1)
    write_contour(tmp_path, case(), found)
    with open(tmp_path / "strain.csv", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == FRAMES and float(rows[-1]["gls (%)"]) == pytest.approx(100 * expected[-1], abs=0.2)
    assert np.asarray(json.loads((tmp_path / "contours.json").read_text(encoding="utf-8"))["endocardium"]).shape == (
        FRAMES,
        41,
        2,
    )
    assert (tmp_path / "strain.png").stat().st_size > 1000


def test_known_in_a_later_frame_it_is_carried_back_too(file):
    assert track_contour(case(), shrinking(), file, 2, 4).curves["gls"][0] == pytest.approx(0.97**-2 - 1, abs=3e-3)


def test_without_spacing_there_are_no_millimetres(file):
    metrics = track_contour(case(spacing=None), shrinking(), file).scores.metrics
    assert "mapse_mm" not in metrics and metrics["gls"] < 0


def test_a_whole_beat_is_without_its_drift(file):
    """It shortens to 0.8 and comes back to 0.95; the cavity inside it tells the beat."""
    share = np.concatenate(
        [1 - 0.2 * np.sin(np.pi * np.arange(21) / 40) ** 2, 0.8 + 0.15 * np.sin(np.pi * np.arange(1, 21) / 40) ** 2]
    )
    grid = identity_grid(SIZE, torch.zeros(1))
    middle = torch.tensor([(n - 1) / 2 for n in SIZE]).view(1, 2, 1, 1)
    ddf = torch.cat([(grid - middle) * (a / b - 1) for a, b in pairwise(share)])
    cine = MetaTensor(torch.zeros(1, 41, *SIZE), meta={"spacing": None, "frame_times": None})
    item = CineCase(CineEntry("a", "a.dcm"), torch.zeros(40, 2, *SIZE), None, cine)
    found = track_contour(item, ddf, file)
    metrics = found.scores.metrics
    assert found.beat.complete and abs(found.es - 20) <= 1 and found.beat.end == 40
    assert metrics["gls_uncompensated"] == pytest.approx(-20, abs=0.2) and metrics["drift"] == pytest.approx(
        -5, abs=0.2
    )
    assert metrics["gls"] == pytest.approx(-20 + 5 * found.es / 40, abs=0.3) == metrics["gls_peak_systolic"]
    assert found.compensated["gls"][-1] == pytest.approx(0) and found.curves["gls"][-1] == pytest.approx(
        -0.05, abs=2e-3
    )


def test_without_a_contour_nothing_is_done():
    assert track_contour(case(), shrinking()) is None


def test_frames_that_are_not_there(file):
    for options in ({"ed": 5}, {"es": 9}):
        with pytest.raises(InputError, match="is outside the cine, frames 0 to 4"):
            track_contour(case(), shrinking(), file, **options)


def test_pixels_that_are_not_square_without_millimetres(file):
    """Shrinking along the rows alone, which are twice as high as wide: the same strain as with the spacing in mm."""
    found = []
    for meta in ({"spacing": None, "aspect": 2.0}, {"spacing": (1.0, 0.5)}):
        item, ddf = case(), shrinking()
        ddf[:, 1] = 0
        item.cine.meta.update(meta)
        found.append(track_contour(item, ddf, file).curves["gls"])
    assert found[0] == pytest.approx(found[1]) and found[0][-1] != pytest.approx(0.97 ** (FRAMES - 1) - 1, abs=0.005)


def test_the_wall_of_a_contour_is_known(tmp_path):
    """Of an endocardium alone a tenth of its length thick; with an epicardium, what lies between; nothing without."""
    angle = np.linspace(0, np.pi, 101)
    endo, epi = (np.stack([70 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 26))
    assert read_borders(case()) is None
    (tmp_path / "endo.json").write_text(json.dumps(endo.tolist()), encoding="utf-8")
    (tmp_path / "both.json").write_text(
        json.dumps({"endocardium": endo.tolist(), "epicardium": epi.tolist()}), encoding="utf-8"
    )
    thin, both = (
        wall_mask(*read_borders(case(), str(tmp_path / name)), case().size) for name in ("endo.json", "both.json")
    )
    assert thin[60, 40 + 20] and not thin[60, 40 + 24] and not thin[60, 40]
    assert both[60, 40 + 20] and both[60, 40 + 24] and not both[60, 40] and not both[60, 40 + 28]
    with pytest.raises(InputError, match="ED at frame 7 is outside the cine, frames 0 to 4"):
        read_borders(case(), str(tmp_path / "both.json"), 7)
