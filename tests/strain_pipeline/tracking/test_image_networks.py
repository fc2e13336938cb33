from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.segmentation_unet import SegmentationUNet
from cardiac_motion.networks.view_classifier import ViewClassifier
from cardiac_motion.networks.weights import save_weights
from cardiac_motion.strain_pipeline.tracking.image_networks import (
    classify_view,
    keep_largest_pieces,
    load_segmentation,
    load_view_classifier,
    membership_parts,
    segment_cine,
    segment_heart,
)
from cardiac_motion.ventricle.views import VIEWS


class Threshold(nn.Module):
    """Pixels brighter than 1/2 are the LV cavity."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))

    def forward(self, image):
        cavity = self.scale * (image - 0.5)
        return torch.cat([torch.zeros_like(image), cavity, *[torch.full_like(image, -40.0)] * 2], 1)


def disc_cine(radii, size=(150, 190), centre=(80.0, 90.0)):
    """A sector of moving speckle, dim, with a bright disc of the given radii in its frames: ``[T, H, W]``."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    sector = (torch.hypot(rows - 10, columns - 95) < 130) & ((columns - 95).abs() < 0.8 * (rows - 10))
    distance = torch.hypot(rows - centre[0], columns - centre[1])
    frames = [torch.where(distance < radius, 0.9, 0.1 + 0.1 * torch.rand(size)) * sector for radius in radii]
    return torch.stack(frames)


def test_a_disc_comes_back_on_the_cines_own_pixels():
    cine = disc_cine([30.0] * 4)
    found = segment_cine(cine, Threshold())
    assert found.shape == (4, 4, 150, 190)
    assert torch.allclose(found.sum(1), torch.ones(4, 150, 190), atol=1e-5)
    truth = cine > 0.5
    dice = 2 * ((found[:, 1] > 0.5) & truth).sum() / ((found[:, 1] > 0.5).sum() + truth.sum())
    assert dice > 0.985
    rows, columns = torch.nonzero(found[0, 1] > 0.5).float().unbind(1)
    assert abs(rows.mean() - 80) < 0.2 and abs(columns.mean() - 90) < 0.2


def test_on_a_grid_of_its_own_a_disc_is_where_it_is_in_the_frames():
    cine = disc_cine([30.0] * 4)
    found = segment_heart(cine, Threshold(), batch=3)
    parts, grid = list(found.parts), found.grid
    assert [len(part) for part in parts] == [3, 1] and max(grid.size) < 240 and grid.step < 1
    labels = grid.paste_labels(torch.cat(parts).argmax(1))
    whole = segment_cine(cine, Threshold()).argmax(1)
    assert labels.shape == whole.shape and (labels != whole).float().mean() < 2e-3
    area = torch.cat(parts)[:, 1].sum((1, 2)) * grid.step**2
    np.testing.assert_allclose(area, np.pi * 30.0**2, rtol=0.01)


def test_on_a_grid_mirrored_twice_is_as_it_was():
    cine = disc_cine([30.0] * 2)
    mirrored = segment_heart(cine.flip(-1), Threshold()).mirror()
    labels = mirrored.grid.paste_labels(torch.cat(list(mirrored.parts)).argmax(1))
    rows, columns = torch.nonzero(labels[0] == 1).float().unbind(1)
    assert abs(rows.mean() - 80) < 0.2 and abs(columns.mean() - 90) < 0.2


def test_a_grid_without_a_heart_is_all_of_the_square():
    found = segment_heart(disc_cine([0.0] * 2), Threshold())
    assert not torch.cat(list(found.parts)).argmax(1).any() and found.grid.size == (448, 448)


def test_smoothing_keeps_a_still_cine_and_calms_a_lone_frame():
    still = disc_cine([30.0] * 5)
    assert torch.allclose(segment_cine(still, Threshold()), segment_cine(still, Threshold(), smooth=False), atol=0.2)
    area = lambda cine, **kw: (segment_cine(cine, Threshold(), **kw)[:, 1] > 0.5).sum((1, 2)).float()  # noqa: E731
    jump = disc_cine([30.0, 30.0, 38.0, 30.0, 30.0])
    assert area(jump)[2] < area(jump, smooth=False)[2] * 0.85


def test_small_pieces_are_taken_away():
    memberships = torch.zeros(1, 3, 20, 20)
    memberships[:, 0] = 0.2
    memberships[:, 2] = 0.1
    memberships[:, 1, 2:12, 2:12] = 0.7
    memberships[:, 1, 16:18, 16:18] = 0.7
    found = keep_largest_pieces(memberships)
    assert (found.argmax(1)[0, 2:12, 2:12] == 1).all() and (found.argmax(1)[0, 16:18, 16:18] == 0).all()
    assert torch.allclose(found.sum(1), torch.ones(1, 20, 20))


def test_parts_are_the_whole():
    cine = disc_cine([20.0 + 0.7 * t for t in range(11)])
    parts = list(membership_parts(cine, Threshold(), batch=4))
    assert [len(part) for part in parts] == [4, 4, 3]
    assert torch.equal(torch.cat(parts), segment_cine(cine, Threshold(), batch=4))


class Counting(Threshold):
    """``Threshold`` that counts the frames it is given."""

    frames = 0

    def forward(self, image):
        self.frames += len(image)
        return super().forward(image)


@pytest.mark.parametrize("every", [2, 3])
def test_fewer_frames_give_the_same_disc(every):
    """End-diastole, where the disc is largest, is as with all frames; between, borders lie within a pixel."""
    radii = [30 - 9 * np.sin(np.pi * t / 30) ** 2 for t in range(31)]
    network = Counting()
    found = segment_cine(disc_cine(radii), network, stride=every)[:, 1].sum((1, 2))
    assert network.frames < 31 * (1 / every + 0.35)
    whole = segment_cine(disc_cine(radii), Threshold())[:, 1].sum((1, 2))
    off = ((found / np.pi).sqrt() - (whole / np.pi).sqrt()).abs()
    assert off.max() < 1 and off[[0, 30]].max() < 0.02, "pixels"


def test_bars_are_named(bar_names):
    classify_view(disc_cine([30.0] * 3), ViewClassifier(filters=4))
    segment_cine(disc_cine([30.0] * 3), Threshold())
    assert bar_names == ["view", "segmentation", "memberships"]


def test_one_frame_is_segmented():
    assert segment_cine(disc_cine([30.0]), Threshold()).shape == (1, 4, 150, 190)


def test_views_are_probabilities_by_name():
    found = classify_view(disc_cine([30.0] * 3), ViewClassifier(filters=4))
    assert tuple(found.by_view) == VIEWS and len(VIEWS) == 8
    assert abs(sum(found.by_view.values()) - 1) < 1e-5


def test_a_mirrored_cine_shows_the_same_view_and_temperature_lowers_certainty():
    class Side(nn.Module):
        """Logit 0 is the brightness of the picture's left, the others are 0."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(20.0))

        def forward(self, image):
            return functional.pad(self.scale * image[..., :64].mean((1, 2, 3))[:, None], (0, 7))

    cine = disc_cine([30.0] * 3)
    plain, mirror, mild = (
        classify_view(c, Side(), temperature=t) for c, t in ((cine, 1.0), (cine.flip(-1), 1.0), (cine, 4.0))
    )
    assert mirror.by_view["apical_4ch"] == pytest.approx(plain.by_view["apical_4ch"], abs=0.02)
    assert 1 / 8 < mild.by_view["apical_4ch"] < plain.by_view["apical_4ch"] and plain.energy == mild.energy > np.log(8)


def test_loaders_take_the_widths_of_the_weights(tmp_path):
    unet, classifier = SegmentationUNet((4, 6, 8)), ViewClassifier(filters=4)
    save_weights(unet, tmp_path / "s.pt")
    save_weights(classifier, tmp_path / "v.pt")
    assert load_segmentation(tmp_path / "s.pt").widths == (4, 6, 8)
    assert load_view_classifier(tmp_path / "v.pt").filters == 4
    with pytest.raises(InputError, match="not weights of a SegmentationUNet"):
        load_segmentation(tmp_path / "v.pt")
    with pytest.raises(InputError, match="not weights of a ViewClassifier"):
        load_view_classifier(tmp_path / "s.pt")


@pytest.mark.parametrize("load", [load_segmentation, load_view_classifier])
def test_missing_weights_are_one_line(load, tmp_path):
    with pytest.raises(InputError, match=r"none\.pt: no such weights; train them"):
        load(tmp_path / "none.pt")


@pytest.mark.parametrize("run", [segment_cine, classify_view])
def test_wrong_shapes(run):
    with pytest.raises(ValueError, match=r"expected a cine \[T, H, W\], got \(1, 3, 8, 8\)"):
        run(torch.zeros(1, 3, 8, 8), Threshold())


def test_committed_weights_know_a_recorded_four_chamber_cine():
    """pydicom's example, of another machine than CAMUS's: its view, and the wall between cavity and what is around."""
    models = Path(__file__).parents[3] / "bundles/strain_pipeline/models"
    cine = read_cine(demo_cine())[0, :2].as_tensor()
    assert classify_view(cine, load_view_classifier(models / "view.pt")).by_view["apical_4ch"] > 0.8
    found = segment_cine(cine, load_segmentation(models / "segmentation.pt")).argmax(1)
    areas = [(found == value).sum((1, 2)).float().mean() for value in (1, 2, 3)]
    assert all(1000 < area < 5000 for area in areas), "of 76,800 pixels"
    rows = [torch.nonzero(found == value)[:, 1].float().mean() for value in (1, 3)]
    assert rows[0] < rows[1], "the atrium lies below the cavity"
