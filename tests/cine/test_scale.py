from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.scale import aspect_of, file_size, from_file_grid, pixel_steps, resample_square, to_file_grid
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import cine_of, loop, region, write_dicom


def test_steps_of_a_pixel() -> None:
    assert pixel_steps({"spacing": (0.3, 0.6), "aspect": 1.0}) == (0.3, 0.6)
    assert pixel_steps({"spacing": None, "aspect": 2.0}) == (2.0, 1.0)
    assert pixel_steps({}) == (1.0, 1.0) and aspect_of({"spacing": (0.3, 0.6)}) == 0.5


@pytest.mark.parametrize(("spacing", "aspect"), [((0.6, 0.3), 2.0), ((0.3, 0.6), 0.5), (None, 2.0), (None, 0.5)])
def test_a_circle_on_square_pixels(spacing: tuple[float, float] | None, aspect: float) -> None:
    y, x = np.mgrid[:90, :80]
    round_ = np.hypot((y - 40) * aspect, x - 37) < 15 * max(aspect, 0.7)
    frames = np.stack([round_ * 255, round_ * 200])
    cine = resample_square(cine_of(frames, spacing=spacing, aspect=aspect, regions=[]))
    rows, columns = np.nonzero(cine[0, 0].numpy() > 0.5)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 2 and aspect_of(cine.meta) == pytest.approx(1)
    assert file_size(cine, cine.meta) == (90, 80)
    assert cine.meta["spacing"] == (None if spacing is None else pytest.approx((0.3, 0.3)))
    centre = to_file_grid(np.array([rows.mean(), columns.mean()]), cine.meta)
    np.testing.assert_allclose(centre, (40, 37), atol=0.3)
    np.testing.assert_allclose(from_file_grid(centre, cine.meta), (rows.mean(), columns.mean()))


def test_pixels_that_are_nearly_square_stay() -> None:
    cine = cine_of(loop(), spacing=(0.3, 0.302), aspect=0.3 / 0.302)
    assert resample_square(cine) is cine


@pytest.mark.parametrize("suffix", [".nii.gz", ".mp4", ".gif"])
@pytest.mark.parametrize(("aspect", "spacing"), [(2.0, None), (0.5, (0.2, 0.4)), (1.25, None)])
def test_written_files_carry_the_shape_of_a_pixel(
    tmp_path: Path, suffix: str, aspect: float, spacing: tuple[float, float] | None
) -> None:
    times = [0.02 * t for t in range(6)]
    write_cine(tmp_path / f"c{suffix}", cine_of(loop(), aspect=aspect, spacing=spacing, frame_times=times))
    assert read_cine(tmp_path / f"c{suffix}").meta["aspect"] == pytest.approx(aspect, rel=0.02)


def test_times_of_playback_stay_so_when_written(tmp_path: Path) -> None:
    for kind in ("playback", "acquired"):
        cine = cine_of(loop(), spacing=None, frame_times=[0.02 * t for t in range(6)], frame_time_source=kind)
        write_cine(tmp_path / "c.nii.gz", cine)
        assert read_cine(tmp_path / "c.nii.gz").meta["frame_time_source"] == kind


@pytest.mark.parametrize("size", [(16, 400), (12, 12), (20, 20)])
def test_small_frames_are_refused_before_anything_is_computed(tmp_path: Path, size: tuple[int, int]) -> None:
    write_cine(tmp_path / "c.nii.gz", cine_of(loop(4, *size), spacing=(0.5, 0.5)))
    with pytest.raises(
        InputError,
        match=rf"frames of {size[1]} × {size[0]} pixels are too small; measuring motion needs at least 21 × 21",
    ):
        CineCases(str(tmp_path / "c.nii.gz"))[0]


def test_cases_on_square_pixels(tmp_path: Path) -> None:
    regions = [region(cm=0.05, cm_y=0.1)]
    path = write_dicom(tmp_path / "c.dcm", loop(), SequenceOfUltrasoundRegions=regions)
    case = CineCases(str(path), transform=cine_transforms(square=True))[0]
    assert case["cine"].shape == (1, 6, 96, 64) and case["image"].shape == (5, 2, 96, 64)
    assert case["cine"].meta["spacing"] == pytest.approx((0.5, 0.5)) and case["cine"].meta["regions"][0]["y1"] == 94
    plain = CineCases(str(path))[0]["cine"]
    assert plain.shape == (1, 6, 48, 64) and torch.equal(plain.as_tensor()[0, 0], read_cine(path).as_tensor()[0, 0])
