"""The pictures of the docs: every one is written, small, and shows what it says."""

import numpy as np
import pytest
import torch
from PIL import Image

from cardiac_motion.core.plots import plt
from cardiac_motion.simulation import figures as F

NAMES = ("steps", "scenarios", "views", "artefacts", "probes", "pymust")


def drawn():
    figure, axis = plt.subplots(figsize=(2, 1))
    axis.imshow(np.random.default_rng(0).random((40, 80, 3)))
    return figure


def test_every_picture_is_written_in_few_colours(tmp_path, monkeypatch, bar_names):
    for name in (*NAMES[:-1], "compare_with_pymust"):
        monkeypatch.setattr(F, name, drawn)
    F.write_figures(tmp_path)
    assert bar_names == ["figures"]
    assert {path.name for path in tmp_path.iterdir()} == {f"simulation_{name}.png" for name in NAMES}
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.size == (200, 100) and len(picture.getcolors()) <= 200
    assert not plt.get_fignums(), "figures are closed"


def test_the_recorded_frame_is_grey_and_without_the_text_around_it():
    frame = F._read_recorded()
    assert frame.shape == (185, 240) and frame.dtype == np.float32
    assert frame.min() >= 0 and frame.max() == 1 and 0.05 < frame.mean() < 0.6


def test_a_picture_has_fixed_black_and_white():
    figure, axis = plt.subplots()
    F._picture(axis, torch.full((4, 6), 0.5), "a title")
    (image,) = axis.get_images()
    assert image.get_clim() == (0, 1) and axis.get_title() == "a title" and image.get_array().shape == (4, 6)
    plt.close(figure)


@pytest.mark.slow
@pytest.mark.parametrize("name, panels", [("steps", 6), ("views", 8), ("probes", 8), ("scenarios", None)])
def test_what_is_simulated_is_seen_in_every_panel(name, panels):
    figure = getattr(F, name)()
    pictures = [axis for axis in figure.axes if axis.get_images()]
    assert len(figure.axes) == (panels or 5 * len(F.SCENARIOS)) and len(pictures) >= len(figure.axes) // 2
    for axis in pictures:
        if axis.get_title() != "ground":
            assert np.asarray(axis.get_images()[0].get_array()).std() > 0, axis.get_title()
    plt.close(figure)
