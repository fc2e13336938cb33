import imageio.v3 as iio
import numpy as np
import pytest
import torch

from cardiac_motion.evaluation import figures
from cardiac_motion.fields.points import grid_points, track


@pytest.fixture
def frames():
    torch.manual_seed(0)
    return torch.rand(4, 60, 90)


def test_arrows_have_a_panel_a_field(tmp_path, frames):
    mask = torch.zeros(60, 90, dtype=torch.bool)
    mask[5:55, 10:80] = True
    sizes = []
    for count in (1, 3):
        ddf = torch.ones(2, 60, 90)
        figures.arrows(frames[0], [ddf] * count, ["s"] * count, mask, tmp_path / "arrows.png")
        sizes.append(iio.imread(tmp_path / "arrows.png").shape)
    assert sizes[1][1] == pytest.approx(3 * sizes[0][1], rel=0.05)
    figures.arrows(frames[0], [torch.zeros(2, 60, 90)], ["still"], mask, tmp_path / "still.png")


def test_movie_shows_where_points_went(tmp_path):
    """A black cine and one point that moves right: its dot is where it should be in each frame."""
    cine = torch.zeros(5, 64, 128)
    ddf = torch.zeros(4, 2, 64, 128)
    ddf[:, 1] = -10  # frame t+1 at p was 10 to the left: tissue moves 10 pixels right a frame
    path = track(torch.tensor([[30.0, 20.0]]), ddf)
    figures.draw_movie(cine, path, tmp_path / "movie.mp4")
    movie = iio.imread(tmp_path / "movie.mp4")
    zoom = movie.shape[2] // 128
    assert len(movie) == 5
    for t, frame in enumerate(movie):
        green = frame[..., 1].astype(int) - frame[..., 0]
        row, column = np.unravel_index(green.argmax(), green.shape)
        assert abs(column / zoom - (20.5 + 10 * t)) < 1.5 and abs(row / zoom - 30.5) < 1.5


def test_pictures_of_odd_sizes(tmp_path, frames):
    cine = frames[:, :59, :87]
    figures.draw_warped(cine[0], cine[1], cine[2], tmp_path / "warped.png")
    figures.draw_movie(cine, track(grid_points(torch.ones(59, 87), 9), torch.zeros(3, 2, 59, 87)), tmp_path / "f.gif")
    assert iio.imread(tmp_path / "f.gif").shape[0] >= 1


@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_pixels_that_are_not_square_are_shown_as_they_are(tmp_path, frames, aspect):
    figures.draw_movie(frames, track(grid_points(torch.ones(60, 90), 9), torch.zeros(3, 2, 60, 90)),
                         tmp_path / "f.mp4", tmp_path / "f.png", aspect=aspect)  # fmt: skip
    tall, wide = iio.imread(tmp_path / "f.png").shape[:2]
    assert tall / wide == pytest.approx(aspect * 60 / 90, rel=0.02)
    mask = torch.ones(60, 90, dtype=torch.bool)
    figures.arrows(frames[0], [torch.ones(2, 60, 90)], ["s"], mask, tmp_path / "a.png", aspect=aspect)
    tall, wide = iio.imread(tmp_path / "a.png").shape[:2]
    assert (tall - 0.3 * 110) / wide == pytest.approx(aspect * 60 / 90, rel=0.05)


def test_of_a_long_cine_every_nth_frame_is_in_the_movie(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "LONGEST_MOVIE", 5)
    cine, points = torch.rand(12, 24, 32), torch.full((12, 1, 2), 10.0)
    figures.draw_movie(cine, points, tmp_path / "m.mp4", tmp_path / "m.png")
    assert len(iio.imread(tmp_path / "m.mp4")) == 4 and (tmp_path / "m.png").is_file()
