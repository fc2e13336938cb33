"""Figures are drawn without a window."""

from matplotlib import get_backend

from common.core.plots import plt


def test_a_figure_needs_no_window(tmp_path):
    assert get_backend().lower() == "agg"
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    figure.savefig(tmp_path / "a.png")
    plt.close(figure)
    assert (tmp_path / "a.png").stat().st_size > 1000
