"""Contours and walls as files hold them, and what can't be used."""

import json

import nibabel
import numpy as np
import pytest

from cardiac_motion.cine.wall_files import read_contour, read_wall
from cardiac_motion.core.errors import InputError

SIZE = (96, 80)


def contour(points=41):
    angle = np.linspace(0, np.pi, points)
    return np.stack([70 - 45 * np.sin(angle), 40 - 18 * np.cos(angle)], -1)


def upright(points=31):
    angle = np.linspace(0, np.pi, points)
    return np.stack([70 - 60 * np.sin(angle), 45 - 20 * np.cos(angle)], -1)


def test_a_mask_gives_its_endocardium(tmp_path):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = lambda a, b: (((70 - rows) / a) ** 2 + ((columns - 40) / b) ** 2 < 1) & (rows < 70)  # noqa: E731
    mask = (inside(55, 28).astype(np.uint8)) * 2
    mask[inside(45, 18)] = 1
    nibabel.save(nibabel.Nifti1Image(mask.T, np.eye(4)), tmp_path / "ed.nii.gz")
    found = read_contour(tmp_path / "ed.nii.gz", 0, SIZE)
    assert abs(found[:, 0].min() - 25) < 2.5 and abs(np.ptp(found[:, 1]) - 36) < 3
    with pytest.raises(InputError, match=r"the frames \("):
        read_contour(tmp_path / "ed.nii.gz", 0, (96, 96))


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "cannot be read as a contour"),
        ("not JSON", "cannot be read as a contour"),
        ({"epicardium": []}, "cannot be read as a contour"),
        ([[1, 2], [3, 4]], "at least 3 points"),
        ((contour() + [0, 40]).tolist(), "leaves the image of 96 × 80"),
    ],
)
def test_contours_that_cannot_be_used(tmp_path, content, words):
    path = tmp_path / "contour.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        read_contour(path, 0, SIZE)
    assert "contour.json" in str(caught.value)


def test_a_wall_that_is_drawn_on_pixels_that_are_not_square(tmp_path):
    points = contour()
    (tmp_path / "ed.json").write_text(json.dumps(points.tolist()), encoding="utf-8")
    square = read_wall(tmp_path / "ed.json", 0, SIZE, 60, 5.0)
    (tmp_path / "wide.json").write_text(json.dumps(((points + 0.5) / (1, 2) - 0.5).tolist()), encoding="utf-8")
    wide = read_wall(tmp_path / "wide.json", 0, (SIZE[0], SIZE[1] // 2), 60, 5.0, (1.0, 2.0))
    np.testing.assert_allclose(wide, square, atol=1e-6)


def test_contours_of_the_strain_pipeline_are_read_by_their_frames(tmp_path):
    path = tmp_path / "contours.json"
    lines = [(upright() + shift).tolist() for shift in (0.0, 2.0, 4.0)]
    path.write_text(json.dumps({"frames": [7, 8, 9], "endocardium": lines, "epicardium": lines}), encoding="utf-8")
    np.testing.assert_allclose(read_contour(path, 8, (100, 100)), upright() + 2)
    with pytest.raises(InputError, match="no contour of frame 0, end-diastole; it has frames 7 to 9"):
        read_contour(path, 0, (100, 100))


def test_swapped_coordinates_are_noticed(tmp_path):
    path = tmp_path / "swapped.json"
    path.write_text(json.dumps(upright()[:, ::-1].tolist()), encoding="utf-8")
    with pytest.raises(InputError, match=r"points are \(row, column\): are these \(column, row\)\?"):
        read_contour(path, 0, (100, 100))
    with pytest.raises(InputError, match=r"leaves the image of 60 × 100 pixels$"):
        (tmp_path / "large.json").write_text(json.dumps((upright() + [40, 40]).tolist()), encoding="utf-8")
        read_contour(tmp_path / "large.json", 0, (60, 100))
    with pytest.raises(InputError, match=r"these would fit as \(column, row\)"):
        path.write_text(json.dumps((upright()[:, ::-1] + [0, 5]).tolist()), encoding="utf-8")
        read_contour(path, 0, (100, 70))
