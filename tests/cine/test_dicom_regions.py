"""Regions of an ultrasound image: spacing in mm, what is cropped, and what is not believed."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cardiac_motion.cine.dicom_regions import crop_regions, dicom_spacing, image_region, is_disjoint, ultrasound_regions
from tests.cine.made import region

SIZE = (48, 64)


def regions(*items):
    dataset = Dataset()
    dataset.SequenceOfUltrasoundRegions = Sequence(items)
    return ultrasound_regions(dataset)


def test_a_region_in_millimetres():
    (found,) = regions(region(2, 3, 40, 30, cm=0.05, cm_y=-0.04))
    assert [found[corner] for corner in ("x0", "y0", "x1", "y1")] == [2, 3, 40, 30]
    assert found["spacing"] == pytest.approx((0.4, 0.5)), "(row, column), a sign is a direction"
    assert found["units"] == (3, 3) and (found["spatial_format"], found["data_type"]) == (1, 1)
    assert ultrasound_regions(Dataset()) == []


@pytest.mark.parametrize("more", [{"units": 4}, {"cm": 0.0}, {"cm": float("nan")}])
def test_a_region_without_a_length_has_no_spacing(more):
    assert regions(region(**more))[0]["spacing"] is None


def test_the_image_is_cropped_where_another_picture_lies_beside_it():
    notes = []
    image, trace = region(0, 0, 30, 40), region(32, 0, 63, 47, spatial=2)
    assert image_region(regions(trace, image), SIZE, notes) == (0, 0, 41, 31)
    assert notes == [
        "Another image (M-mode) lies next to the B-mode image; cropped to the latter, x 0 to 30 and y 0 to 40."
    ]
    assert image_region(regions(region(0, 0, 30, 40)), SIZE, notes) is None and len(notes) == 1
    assert image_region(regions(region(0, 0, 30, 40), region(5, 5, 20, 20, kind=2)), SIZE, notes) is None, "over it"


def test_tissue_before_colour_then_the_largest_then_the_leftmost():
    small, large, colour = region(0, 0, 10, 10), region(12, 0, 40, 40), region(42, 0, 63, 47, kind=2)
    assert image_region(regions(colour, small, large), SIZE, [])[1] == 12
    twins = [region(33, 0, 63, 40), region(0, 0, 30, 40)]
    assert image_region(regions(*twins), SIZE, [])[1] == 0
    assert image_region(regions(colour, region(0, 0, 40, 47, spatial=3)), SIZE, [])[1] == 42


def test_no_image_at_all_is_said():
    notes = []
    assert image_region(regions(region(spatial=2), region(spatial=3)), SIZE, notes) is None
    assert notes == ["The header declares no 2D image, only M-mode and spectral Doppler; this is not a cine of tissue."]


def test_regions_of_a_crop_in_its_own_pixels():
    inside, over, outside = region(10, 12, 20, 22), region(0, 0, 63, 47), region(50, 0, 63, 47)
    found = crop_regions(regions(inside, over, outside), (5, 8, 40, 45))
    assert [[r[c] for c in ("x0", "y0", "x1", "y1")] for r in found] == [[2, 7, 12, 17], [0, 0, 37, 35]]


def test_regions_that_touch_share_nothing():
    a, b, c = regions(region(0, 0, 10, 10), region(10, 0, 20, 10), region(9, 0, 20, 10))
    assert is_disjoint(a, b) and not is_disjoint(a, c) and is_disjoint(b, a)
    assert not is_disjoint(a, {**b, "x0": None}), "a region without a place is beside nothing"


def test_the_spacing_is_the_largest_tissue_region_s():
    notes = []
    found = dicom_spacing(Dataset(), regions(region(0, 0, 10, 10, cm=0.1), region(12, 0, 60, 40, cm=0.05)), SIZE, notes)
    assert found == pytest.approx((0.5, 0.5)) and "2 image regions differ in spacing" in notes[0]
    colour = regions(region(kind=2, cm=0.02))
    assert dicom_spacing(Dataset(), colour, SIZE, []) == pytest.approx((0.2, 0.2))
    assert dicom_spacing(Dataset(), regions(region(spatial=2)), SIZE, notes) is None, "of an M-mode there is none"


def test_a_region_beyond_the_frames_is_not_believed():
    notes, dataset = [], Dataset()
    dataset.PixelSpacing = [0.3, 0.3]
    assert dicom_spacing(dataset, regions(region(0, 0, 100, 40)), SIZE, notes) is None
    assert "resized or cropped later" in notes[0]
    assert dicom_spacing(dataset, regions(region(0, 0, 64, 48)), SIZE, []) is not None, "the one after the last pixel"


def test_pixel_spacing_where_there_is_no_region():
    dataset, notes = Dataset(), []
    dataset.PixelSpacing = [0.3, 0.4]
    assert dicom_spacing(dataset, [], SIZE, notes) == (0.3, 0.4) and not notes
    dataset.PixelSpacing = [0.0, 0.4]
    assert dicom_spacing(dataset, [], SIZE, notes) is None and "no spacing in mm" in notes[0]
