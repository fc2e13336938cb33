"""Figures are drawn without a window."""

from pathlib import Path

from matplotlib import get_backend

from cardiac_motion.core.plots import plt


def test_a_figure_needs_no_window(tmp_path):
    assert get_backend().lower() == "agg"
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    figure.savefig(tmp_path / "a.png")
    plt.close(figure)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_backend_is_chosen_once():
    root = Path(__file__).resolve().parents[2]
    sources = [path for folder in ("common", "apps", "benchmarks") for path in (root / folder).rglob("*.py")]
    chosen = ("matplotlib.use(", '.use("Agg")')
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sources}
    found = [name for name, text in texts.items() if any(words in text for words in chosen)]
    assert found == ["common/cardiac_motion/core/plots.py"]
