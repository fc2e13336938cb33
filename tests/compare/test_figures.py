"""The pictures of a comparison: written where cases have what they show, and nowhere else."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from cardiac_motion.compare import figures
from cardiac_motion.compare.figures import box_plot, profile_plot, truth_plot
from cardiac_motion.compare.methods import Method
from tests.compare.results import GOOD, WORSE, flow, method, write_profiles


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, before they are closed."""
    found = []
    save = figures._save

    def keep(figure, path):
        found.append([[line.get_xydata() for line in axis.lines] for axis in figure.axes])
        save(figure, path)

    monkeypatch.setattr(figures, "_save", keep)
    return found


def test_a_box_a_method_and_an_axis_a_metric(drawn, tmp_path):
    box_plot([method("good", GOOD), method("worse", WORSE)], tmp_path / "boxes.png")
    assert matplotlib.image.imread(tmp_path / "boxes.png").ndim == 3
    (axes,) = drawn
    assert len(axes) == 3, "head, body and their average"
    medians = {float(line[0, 0]) for line in axes[2] if len(line) == 2 and line[0, 0] == line[1, 0]}
    assert any(abs(x - 100 * np.median(GOOD)) < 1e-9 for x in medians), "in percent"


def test_one_axis_where_cases_have_one_metric(drawn, tmp_path, recwarn):
    only = Method("m", [], tmp_path / "m", {"c0": {"epe_mm": 0.1, "epe_ed_es_mm": float("nan")}})
    box_plot([only, Method("none", [], Path("none"))], tmp_path / "boxes.png")
    assert len(drawn[0]) == 1
    assert not [w for w in recwarn if "empty slice" in str(w.message)]


def test_nothing_is_drawn_of_nothing(tmp_path):
    nothing = Method("m", [], tmp_path / "m", {"c0": {"seconds": 1.0}})
    write_profiles(nothing, tmp_path, None)
    for plot in (box_plot, truth_plot, profile_plot):
        plot([nothing], tmp_path / "plot.png")
        assert not (tmp_path / "plot.png").exists()


def test_likeness_against_truth_a_point_a_method(drawn, tmp_path):
    truth_plot([flow("good", [0.1, 0.2], 0.8, 0.9), flow("worse", [0.3, 0.4], 0.9, 0.5)], tmp_path / "truth.png")
    (((first,), (second,)),) = drawn[0]
    assert first == pytest.approx([0.8, 0.15]) and second == pytest.approx([0.9, 0.35])


def test_the_mean_error_along_the_wall_from_0_to_1(drawn, tmp_path):
    good = flow("good", [0.1, 0.2], 0.8, 0.9)
    write_profiles(good, tmp_path, [1.0, 0.5, 2.0])
    profile_plot([good], tmp_path / "profile.png")
    assert drawn[0][0][0] == pytest.approx(np.array([[0, 1], [0.5, 0.5], [1, 2]]))
