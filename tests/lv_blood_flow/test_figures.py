"""Pictures and movies of a turning pool: their sizes, what they show, and that gaps are no fault."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from cardiac_motion.core.plots import plt
from cardiac_motion.lv_blood_flow import figures as F
from cardiac_motion.lv_blood_flow.measures import measure_flow, units
from tests.lv_blood_flow.flows import turning


@pytest.fixture(scope="module")
def flow():
    case, ddf = turning()
    return case, measure_flow(case, ddf)


def test_the_window_is_the_pool_and_six_pixels_around_it():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[20:30, 3:41] = True
    rows, columns, extent = F._window(mask)
    assert (rows, columns) == (slice(14, 36), slice(0, 47))
    assert extent == (-0.5, 46.5, 35.5, 13.5), "pixels are centred on whole numbers, rows downwards"


def test_flow_by_scale_has_a_column_a_scale(flow, tmp_path):
    case, found = flow
    frame = case.cine.as_tensor()[0, 0]
    widths = []
    for count in (1, 2):
        F.flow_by_scale(frame, [found.velocity] * count, ["scale"] * count, 1, tmp_path / "flow.png")
        with Image.open(tmp_path / "flow.png") as picture:
            widths.append(picture.width)
            shown = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.ptp(shown, axis=2) > 60).mean() > 0.01, "arrows and lines have colours"
    assert widths == [round(90 * (3.3 * count + 0.9)) for count in (1, 2)] and not plt.get_fignums()


def test_arrows_of_a_still_pool_do_not_fail(flow, tmp_path):
    from dataclasses import replace

    case, found = flow
    still = replace(found.velocity, values=torch.zeros_like(found.velocity.values))
    F.flow_by_scale(case.cine.as_tensor()[0, 0], [still], ["still"], 0, tmp_path / "flow.png")
    assert (tmp_path / "flow.png").stat().st_size > 1000


def test_vorticity_of_some_pairs_spread_evenly(flow, tmp_path, monkeypatch):
    case, found = flow
    titles, marks = [], []
    monkeypatch.setattr(plt.Axes, "set_title", lambda axis, text, **_: titles.append(text))
    annotate = plt.Axes.annotate
    monkeypatch.setattr(
        plt.Axes, "annotate", lambda axis, text, *a, **k: marks.append(text) or annotate(axis, text, *a, **k)
    )
    frames = case.cine.as_tensor()[0]
    F.vorticity_pictures(frames[:-1], found.vorticity, found.vortices, "1/s", tmp_path / "v.png", count=2)
    assert titles == ["pair 0", "pair 2"]
    assert marks == [f"{found.vortices[pair][0].circulation:.0f}" for pair in (0, 2)]
    F.vorticity_pictures(frames[:-1], found.vorticity, [[]] * 3, "1/s", tmp_path / "v.png")
    assert titles[2:] == ["pair 0", "pair 1", "pair 2"] and len(marks) == 2


def test_a_gap_in_the_curves_stays_a_gap(flow, tmp_path, monkeypatch):
    _, found = flow
    drawn = []
    plot = plt.Axes.plot
    monkeypatch.setattr(
        plt.Axes, "plot", lambda axis, x, y, **k: drawn.append((k["label"], y)) or plot(axis, x, y, **k)
    )
    F.flow_curves(found.rows, units(found.velocity), tmp_path / "curves.png")
    known = dict(drawn)
    assert list(known) == [key.replace("_", " ") for keys in F.CURVES for key in keys]
    assert known["mean speed"] == [row["mean_speed"] for row in found.rows]
    assert np.isnan(known["cw circulation"]).all(), "nothing turns clockwise"


def test_a_movie_has_a_picture_a_frame_and_particles_where_they_are(tmp_path):
    cine, pool = torch.full((4, 60, 80), 0.2), torch.zeros(4, 60, 80, dtype=torch.bool)
    pool[:, 20:40, 30:50] = True
    ways = torch.full((4, 2, 2), float("nan"))
    ways[:, 0] = torch.tensor([30.0, 40.0])
    ways[2:, 1] = torch.tensor([24.0, 34.0])  # seeded in the third frame
    F.particle_movie(cine, ways, pool, tmp_path / "p.mp4", tmp_path / "p.png")
    movie = iio.imread(tmp_path / "p.mp4")
    zoom = round(560 / 32)  # the pool and six pixels around it
    assert movie.shape == (4, 32 * zoom, 32 * zoom, 3)
    still = iio.imread(tmp_path / "p.png").astype(int)
    green = (still[..., 1] - still[..., 0]) > 100
    for row, column in ((30, 40), (24, 34)):
        assert green[round((row - 14 + 0.5) * zoom), round((column - 24 + 0.5) * zoom)]
    first = iio.imread(tmp_path / "p.mp4", index=0).astype(int)
    assert np.ptp(first[round(10.5 * zoom), round(10.5 * zoom)]) < 30, "who was not yet there is not shown"
