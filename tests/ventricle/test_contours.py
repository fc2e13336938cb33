from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from skimage.draw import polygon2mask

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.contours import _signed_area as signed_area
from cardiac_motion.ventricle.contours import (
    blood_pool_masks,
    fit_contour,
    smooth_boundary,
    wall_contours,
    wall_lines,
    wall_mask,
)


def disc(radius: float, centre: tuple[float, float] = (50.0, 60.0), size: tuple[int, int] = (100, 120)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def ellipse(rows: float, columns: float, size: tuple[int, int] = (160, 160)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return ((y - 80) / rows) ** 2 + ((x - 80) / columns) ** 2 <= 1


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def clockwise(contour: np.ndarray) -> bool:
    row, column = contour.T
    return float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row)) > 0


def radius_of(mask: torch.Tensor) -> float:
    return float(np.sqrt(mask.sum() / np.pi))


def test_signed_area_of_a_corner_is_exact() -> None:
    """Two squares above each other and one beside the upper: three, clockwise as displayed."""
    corner = np.array([[0, 0], [0, 2], [1, 2], [1, 1], [2, 1], [2, 0]], float)
    assert signed_area(corner) == 3 and signed_area(corner[::-1]) == -3 and signed_area(corner + [5, -9]) == 3


@pytest.mark.parametrize(
    ("mask", "least"),
    [
        (disc(30), 0.99),
        (disc(4), 0.95),
        (disc(30, centre=(10, 20)), 0.97),
        (ellipse(70, 30), 0.985),
        (ellipse(25, 70), 0.985),
        (disc(250, (400, 500), (768, 1024)), 0.99),
    ],
    ids=["disc", "small", "cut by the border", "tall", "wide", "full size"],
)
def test_fit_fills_the_mask(mask: np.ndarray, least: float) -> None:
    contour = fit_contour(mask)
    assert contour.shape == (100, 2) and clockwise(contour)
    assert dice(polygon2mask(mask.shape, contour), mask) > least
    steps = np.linalg.norm(np.diff(contour, axis=0, append=contour[:1]), axis=1)
    assert steps.max() < 1.1 * steps.mean()


def test_nine_pixels_are_enough() -> None:
    mask = np.zeros((12, 12), bool)
    mask[4:7, 4:7] = True
    assert np.abs(fit_contour(mask).mean(0) - 5).max() < 0.1
    mask[4, 4] = False
    with pytest.raises(InputError, match="the mask has only 8 connected pixels; a contour needs 9"):
        fit_contour(mask)


def test_fit_is_subpixel_and_starts_at_the_top() -> None:
    contour = fit_contour(disc(30.3), points=64)
    assert contour.shape == (64, 2)
    assert np.hypot(contour[:, 0] - 50, contour[:, 1] - 60) == pytest.approx(30.3, abs=0.4)
    assert contour[0] == pytest.approx([50 - 30.3, 60], abs=0.5)
    assert contour[16] == pytest.approx([50, 60 + 30.3], abs=0.7)


def test_points_move_with_the_mask() -> None:
    mask = ellipse(60, 35)
    moved = np.roll(mask, (7, -9), axis=(0, 1))
    np.testing.assert_allclose(fit_contour(moved), fit_contour(mask) + [7, -9], atol=1e-6)


def test_smooth_boundary_keeps_a_circle_and_calms_noise() -> None:
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([50 - 30 * np.cos(angle), 60 + 30 * np.sin(angle)], axis=1)
    noise = np.random.default_rng(0).normal(0, 0.5, circle.shape)
    smooth = smooth_boundary(np.stack([circle, circle + noise]))
    radius = np.hypot(smooth[..., 0] - 50, smooth[..., 1] - 60)
    np.testing.assert_allclose(radius[0], 30, atol=1e-6)
    assert radius[1].std() < 0.65 * np.hypot(*(circle + noise - [50, 60]).T).std()


def test_circle_to_circle_interpolates_the_radius_and_the_centre() -> None:
    masks = blood_pool_masks(disc(40), disc(20, (54, 64)), ed=0, es=10, frames=20)
    assert masks.shape == (20, 100, 120) and masks.dtype == torch.bool
    for t, mask in enumerate(masks):
        share = min(t, 20 - t) / 10
        assert radius_of(mask) == pytest.approx(40 - 20 * share, abs=0.3)
        centre = mask.nonzero().double().mean(dim=0)
        assert centre.tolist() == pytest.approx([50 + 4 * share, 60 + 4 * share], abs=0.2)


@pytest.mark.parametrize(
    ("ed", "es", "beyond", "radii"),
    [
        (2, 6, "held", [40, 40, 40, 35, 30, 25, 20, 20]),
        (2, 6, "periodic", [30, 35, 40, 35, 30, 25, 20, 25]),
        (6, 2, "periodic", [30, 25, 20, 25, 30, 35, 40, 35]),
        (6, 2, "held", [20, 20, 20, 25, 30, 35, 40, 40]),
    ],
)
def test_frames_beyond_ed_and_es(ed: int, es: int, beyond: Any, radii: list[float]) -> None:
    masks = blood_pool_masks(disc(40), disc(20), ed, es, frames=8, beyond=beyond)
    assert [radius_of(mask) for mask in masks] == pytest.approx(radii, abs=0.3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ed_mask": np.zeros((100, 120))}, "the ED mask is empty"),
        ({"es_mask": np.zeros((100, 120))}, "the ES mask is empty"),
        ({"es_mask": disc(20)[:-2]}, "ED mask has 100 × 120 pixels but the ES mask 98 × 120"),
        ({"ed_mask": disc(20)[None]}, r"the ED mask has shape \(1, 100, 120\); expected \[H, W\]"),
        ({"es_mask": disc(1.2)}, "the mask has only 5 connected pixels"),
        ({"ed": 4}, "ED and ES are the same frame, 4"),
        ({"ed": -1}, "the ED frame -1 is outside the cine, frames 0 to 7"),
        ({"es": 8}, "the ES frame 8 is outside the cine, frames 0 to 7"),
    ],
)
def test_bad_input(change: dict[str, Any], match: str) -> None:
    arguments = {"ed_mask": disc(40), "es_mask": disc(20), "ed": 0, "es": 4, "frames": 8, **change}
    with pytest.raises(InputError, match=match):
        blood_pool_masks(**arguments)


def test_an_empty_mask_has_no_contour() -> None:
    with pytest.raises(InputError, match="the mask is empty"):
        fit_contour(np.zeros((10, 10), dtype=bool))


@pytest.fixture
def cavities() -> list[tuple[np.ndarray, np.ndarray]]:
    if not os.environ.get("DATA_DIR"):
        pytest.skip("needs the public data sets in the folder that DATA_DIR names")
    folder = Path(os.environ["DATA_DIR"]) / "CAMUS_616um"
    narrow = [folder / "patient0156", folder / "patient0472"]  # at ES
    patients = sorted(folder.glob("patient*"))[::75] + narrow
    pairs = [[p / f"{p.name}_4CH_{phase}_gt.nii.gz" for phase in ("ED", "ES")] for p in patients]
    masks = [[np.asarray(nib.load(path).dataobj).T == 1 for path in pair] for pair in pairs]
    return [(ed, es) for ed, es in masks]


def test_real_cavities_are_fitted_and_correspond(cavities: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for ed, es in cavities:
        for mask in (ed, es):
            assert dice(polygon2mask(mask.shape, fit_contour(mask)), mask) > 0.98
        masks = blood_pool_masks(ed, es, ed=0, es=8, frames=16).numpy()
        assert dice(masks[0], ed) > 0.95 and dice(masks[8], es) > 0.95
        half = masks[4].sum() / np.mean([ed.sum(), es.sum()])
        assert 0.9 < half < 1.05


def test_wall_of_a_ventricle() -> None:
    """Half an ellipse of semi-axes 80 and 30 around which a wall of 10 pixels goes, base below, apex above."""
    y, x = np.mgrid[:160, :160]
    inside = ((y - 110) / 80) ** 2 + ((x - 80) / 30) ** 2 <= 1
    outside = ((y - 110) / 90) ** 2 + ((x - 80) / 40) ** 2 <= 1
    labels = np.where(inside, 1, np.where(outside, 2, 0)) * (y <= 110)
    endo, centre, epi = wall_contours(labels)
    assert endo.shape == centre.shape == epi.shape == (120, 2)
    np.testing.assert_allclose(centre, (endo + epi) / 2)
    apex = (endo[59] + endo[60]) / 2
    assert apex == pytest.approx([30, 80], abs=1.5) and epi[59:61].mean(0) == pytest.approx([20, 80], abs=1.5)
    assert endo[0] == pytest.approx([110, 50], abs=3) and endo[-1] == pytest.approx([110, 110], abs=3)
    height = np.hypot((endo[:, 0] - 110) / 80, (endo[:, 1] - 80) / 30)
    assert np.abs(height - 1).max() < 0.08


def test_no_wall() -> None:
    with pytest.raises(InputError, match="cine 3: no myocardium"):
        wall_contours(disc(30).astype(int), name="cine 3")


def horseshoe(row: int, column: int, size: tuple[int, int]) -> np.ndarray:
    """A cavity 1 in a wall 2, both half ellipses, an atrium 3 below; the apex at ``row``, the axis at ``column``."""
    y, x = np.mgrid[: size[0], : size[1]]
    across = np.hypot((y - row - 48) / 2, x - column)
    labels = np.where(across < 18, 1, np.where(across < 24, 2, 0)) * (y <= row + 48)
    labels[row + 49 : row + 55, column - 10 : column + 10] = 3
    return labels


@pytest.mark.parametrize(("row", "column", "size"), [(0, 24, (60, 49)), (9, 40, (90, 120)), (31, 90, (86, 115))])
def test_wall_lines_lie_where_the_wall_is(row: int, column: int, size: tuple[int, int]) -> None:
    lines = wall_contours(horseshoe(row, column, size), points=60)
    assert lines.shape == (3, 60, 2)
    for line, radius in zip(lines, (18, 21, 24), strict=True):
        across = np.hypot((line[:, 0] - row - 48) / 2, line[:, 1] - column)
        assert np.abs(across - radius)[3:-3].max() < 0.8
        assert abs(line[0, 0] - row - 48) < 2 and abs(line[-1, 0] - row - 48) < 2
        assert line[0, 1] < column < line[-1, 1]
    here = wall_contours(horseshoe(9, 40, (90, 120)), points=60)
    if row:  # at the picture's edge the smoothing sees less
        np.testing.assert_allclose(lines - [row, column], here - [9, 40], atol=1e-6)


def test_names_and_numbers_of_wall_lines() -> None:
    labels = horseshoe(9, 40, (90, 120))
    assert wall_contours(labels).shape == (3, 120, 2)
    with pytest.raises(InputError, match=r"^frame 7: no myocardium \(label 2\)"):
        wall_contours(np.where(labels == 2, 0, labels), name="frame 7")
    with pytest.raises(InputError, match=r"^mask: no cavity \(label 1\)"):
        wall_contours(np.zeros((20, 20)))
    angle = np.linspace(0, np.pi, 101)
    endo, epi = (np.stack([60 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 24))
    inner, middle, outer = wall_lines(endo, epi)
    np.testing.assert_allclose(middle, (inner + outer) / 2)
    assert len(inner) == 120 and len(wall_lines(endo, epi, 30)[0]) == 30
    with pytest.raises(InputError, match=r"^contours: the endocardium does not lie within"):
        wall_lines(epi, endo)
    with pytest.raises(InputError, match=r"^here: the endocardium does not lie within"):
        wall_lines(epi, endo, name="here")


def test_the_mask_of_a_wall_is_what_lies_between_its_lines() -> None:
    """Two upright walls 4 and 6 pixels thick under a roof of 3; open below, and cut by the picture's edge."""
    inner = np.array([[29.5, 9.5], [7.5, 9.5], [7.5, 20.5], [29.5, 20.5]])
    outer = np.array([[29.5, 5.5], [4.5, 5.5], [4.5, 26.5], [29.5, 26.5]])
    wanted = np.zeros((40, 50), bool)
    wanted[5:30, 6:27] = True
    wanted[8:30, 10:21] = False
    mask = wall_mask(inner, outer, (40, 50))
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), wanted)
    np.testing.assert_array_equal(wall_mask(inner, outer, (25, 22)).numpy(), wanted[:25, :22])


def test_blood_beyond_the_picture_is_cut_off() -> None:
    """A disc whose centre lies on the picture's edge: half of it is seen, and the mask has the picture's size."""
    masks = blood_pool_masks(disc(24, (4.0, 60.0)), disc(16, (4.0, 60.0)), 0, 2, 3)
    assert masks.shape == (3, 100, 120) and masks[0, 0].sum() == pytest.approx(48, abs=3)
    assert masks[0, 60:].sum() == 0 and masks[2].sum() < masks[1].sum() < masks[0].sum()
