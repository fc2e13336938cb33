"""What is left of a cine whose strain follows from a drawing: tables, lines, movie, summary."""

import csv
import json

import cv2
import imageio.v3 as iio
import numpy as np
import pytest

from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.strain_pipeline.quality.checks import check
from cardiac_motion.strain_pipeline.report import report_files as F
from cardiac_motion.strain_pipeline.report.sections import grey_values
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.contours import LAYERS
from tests.strain_pipeline.known import APEX, HEIGHT, SHARE, WALL, WIDTH, cine, strain_case, tracked_beat


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_a_frame_with_its_strain(tmp_path):
    F.write_curves(tmp_path / "strain.csv", strain_case())
    rows = table(tmp_path / "strain.csv")
    assert [int(row["frame"]) for row in rows] == list(range(6)) and {row["beat"] for row in rows} == {"1"}
    assert [float(row["seconds"]) for row in rows] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    segment = strain_case().measured.beats[0]["segments"][4]["name"]
    for name in ("gls (%)", "gls_mid_wall (%)", "long_axis_strain (%)", f"{segment} (%)"):
        np.testing.assert_allclose([float(row[name]) for row in rows], 100 * (SHARE - 1), atol=1e-4)
    assert [float(row["cavity area (px)"]) for row in rows] == pytest.approx(2400 * SHARE**2, abs=0.05)


def test_what_a_beat_lacks_is_left_empty(tmp_path):
    out = tracked_beat(Beat(0, 3, 5, False), lncc2=np.zeros(121))
    study = strain_case([tracked_beat(), out], found=cine(times=None))
    F.write_curves(tmp_path / "strain.csv", study)
    rows = table(tmp_path / "strain.csv")
    assert [row["beat"] for row in rows] == ["1"] * 6 + ["2"] * 6 and {row["seconds"] for row in rows} == {""}
    assert float(rows[3]["gls (%)"]) == pytest.approx(-20) and {row["gls (%)"] for row in rows[6:]} == {""}


def test_a_movie_has_a_frame_of_each_and_its_caption(tmp_path):
    study = strain_case()
    F.write_wall_movie(tmp_path / "movie.mp4", study, grey_values(study.case))
    movie = iio.imread(tmp_path / "movie.mp4")
    assert movie.shape == (6, 5 * HEIGHT + F.CAPTION, 5 * WIDTH, 3), "640 pixels wide or nearly so, words below"
    assert movie[0, 5 * 60, 5 * 65].min() > 200 and movie[0, -3:, :].max() < 60
    assert movie[0, -F.CAPTION :].max() > 180
    # the tracked endocardium is drawn where it lies: its colour is no grey
    row, column = ((APEX + 0.8 * (WALL[0, 20] - APEX)) * 5 + 2.5).astype(int)
    there = movie[3, row - 3 : row + 4, column - 3 : column + 4].astype(int)
    assert np.ptp(there, axis=-1).max() > 60
    assert np.ptp(movie[3, 5 * 80 : 5 * 80 + 6, 5 * 65 : 5 * 65 + 6].astype(int), axis=-1).max() < 30


def test_a_forced_movie_says_so_in_red(tmp_path):
    study = strain_case(checks=(check("systole", 0.9),), forced=True)
    F.write_wall_movie(tmp_path / "movie.mp4", study, grey_values(study.case))
    movie = iio.imread(tmp_path / "movie.mp4")
    assert movie.shape[1] == 5 * HEIGHT + 2 * F.CAPTION
    red = movie[:, 2, 2].astype(int)
    assert (red[:, 0] - red[:, 1] > 80).all()


@pytest.mark.parametrize("width", [60, 400])
def test_a_caption_is_made_to_fit(width):
    found = F.strip("a rather long caption of a frame", width, (10, 20, 30))
    assert found.shape == (F.CAPTION, width, 3) and tuple(found[0, 0]) == (10, 20, 30)
    bright = np.flatnonzero((found.max(-1) > 120).any(0))
    assert len(bright) and bright.max() < width - 2
    size = (
        0.5 if width == 400 else 0.5 * (60 - 16) / cv2.getTextSize("a rather long caption of a frame", 0, 0.5, 1)[0][0]
    )
    expected = 8 + cv2.getTextSize("a rather long caption of a frame", 0, size, 1)[0][0]
    assert bright.max() == pytest.approx(expected, abs=12)


def test_lines_for_the_terminal():
    lines = F.text_of(strain_case()).splitlines()
    assert lines[0] == "known: apical four-chamber, 1 beat(s)"
    assert lines[1] == (
        "  GLS −20.0 % (endocardium), mid-wall −20.0 %, long-axis strain −20.0 %, drift 0.0 %, EF 47.3 %"
    )
    assert lines[2] == "  warning: said" and lines[-1].strip() == F.report.CAUTION


def test_a_case_is_one_whole_folder(tmp_path):
    image = tmp_path / "a" / "known.nii.gz"
    image.parent.mkdir()
    image.write_bytes(b"a cine")
    loop = cine(zoom=(2.0, 1.0))
    study = strain_case(found=loop, entry=CineEntry("known", str(image)), folder=tmp_path / "out" / "known")
    done = F.write_strain_case(study, {"view": "ours"}, save_figures=True, options={"motion": "known"})
    assert sorted(path.name for path in study.folder.iterdir()) == [
        "contours.json", "movie.mp4", "report.html", "strain.csv", "summary.json",
    ]  # fmt: skip
    assert image.read_bytes() == b"a cine"
    summary = json.loads((study.folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["source"] == str(image) and summary["view"] == "apical_4ch" and summary["frames"] == 6
    assert summary["metrics"]["gls"] == pytest.approx(-20)
    assert summary["options"] == {"motion": "known"} and summary["weights"] == {"view": "ours"}
    assert summary["metrics"]["seconds"] == pytest.approx(3.5 + summary["metrics"]["seconds_report"])
    assert done.sections and done.text.startswith("known: ") and done.options == {"motion": "known"}
    assert "−20.0" in (study.folder / "report.html").read_text(encoding="utf-8")
    contours = json.loads((study.folder / "contours.json").read_text(encoding="utf-8"))
    assert contours["frames"] == list(range(6)) and set(contours) == {"frames", *LAYERS}
    # pixels of the file: rows were doubled
    line = APEX + 0.8 * (WALL[0] - APEX)
    expected = np.stack([(line[:, 0] + 0.5) / 2 - 0.5, line[:, 1]], -1)
    np.testing.assert_allclose(contours["endocardium"][3], expected, atol=0.01)


def test_without_figures_there_are_numbers_alone(tmp_path):
    study = strain_case(folder=tmp_path / "known")
    done = F.write_strain_case(study, {}, save_figures=False)
    assert {path.name for path in study.folder.iterdir()} == {"contours.json", "strain.csv", "summary.json"}
    assert "seconds_report" not in done.scores.metrics and done.sections == ()
