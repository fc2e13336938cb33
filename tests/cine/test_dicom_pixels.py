"""Pixels of a DICOM file as grey values in [0, 1]: bits, signs, inversion, palettes; too few are refused."""

import numpy as np
import pydicom
import pytest

from cardiac_motion.cine.dicom_pixels import Palette, dicom_frames
from cardiac_motion.cine.loop import FirstChannel, Loop
from cardiac_motion.core.errors import InputError
from tests.cine.made import loop, write_dicom


def dataset(path, values, **tags):
    return pydicom.dcmread(write_dicom(path, values, **tags))


def test_bytes(tmp_path, bar_names):
    values, found = loop(), Loop()
    frames = dicom_frames(tmp_path / "a.dcm", dataset(tmp_path / "a.dcm", values), found)
    assert frames.dtype == np.float32 and np.allclose(frames * 255, values, atol=1e-4) and not found.notes
    assert bar_names == ["reading a.dcm"]


def test_monochrome_1_is_turned_over(tmp_path):
    values = loop()
    given = dataset(tmp_path / "a.dcm", values, photometric="MONOCHROME1")
    assert np.allclose(dicom_frames(tmp_path / "a.dcm", given, Loop()) * 255, 255 - values.astype(int), atol=1e-4)


def test_bits_that_are_stored_set_the_scale(tmp_path):
    """Twelve of sixteen bits: 4095 is white, and what lies in the four above is not of the picture."""
    values = loop().astype(np.uint16) * 16
    given = dataset(tmp_path / "a.dcm", values)
    given.BitsAllocated, given.BitsStored, given.HighBit, given.PixelRepresentation = 16, 12, 11, 0
    given.PixelData = (values | 0x8000).astype("<u2").tobytes()
    given["PixelData"].VR = "OW"
    assert np.allclose(dicom_frames(tmp_path / "a.dcm", given, Loop()), values / 4095, atol=1e-6)


def test_signed_values_begin_below_0(tmp_path):
    values = loop()
    given = dataset(tmp_path / "a.dcm", values)
    given.BitsAllocated, given.BitsStored, given.HighBit, given.PixelRepresentation = 16, 16, 15, 1
    signed = (values.astype(np.int32) * 257 - 32768).astype("<i2")
    given.PixelData = signed.tobytes()
    given["PixelData"].VR = "OW"
    assert np.allclose(dicom_frames(tmp_path / "a.dcm", given, Loop()) * 255, values, atol=1e-3)


def test_the_first_channel_of_colour(tmp_path):
    values = np.repeat(loop()[..., None], 3, -1)
    given = dataset(tmp_path / "a.dcm", values, photometric="RGB")
    found = Loop()
    assert np.allclose(dicom_frames(tmp_path / "a.dcm", given, found) * 255, values[..., 0], atol=1e-4)
    assert not found.colour_flow


def test_frames_that_are_missing(tmp_path):
    given = dataset(tmp_path / "a.dcm", loop())
    given.NumberOfFrames = 7
    with pytest.raises(InputError, match=r"a\.dcm: (truncated|7 frames declared)"):
        dicom_frames(tmp_path / "a.dcm", given, Loop())


def palette(first=0, count=256, word=False):
    """Greys that fall from white to black."""
    given = pydicom.Dataset()
    given.set_original_encoding(False, True)
    greys = np.linspace(255, 0, count).round().astype(np.uint8)
    for name in ("Red", "Green", "Blue"):
        setattr(given, f"{name}PaletteColorLookupTableDescriptor", [count, first, 16 if word else 8])
        data = (greys.astype("<u2") * 257).tobytes() if word else greys.tobytes()
        setattr(given, f"{name}PaletteColorLookupTableData", data)
    return given, greys


@pytest.mark.parametrize("word", [False, True])
def test_a_palette_is_looked_up(tmp_path, word):
    given, greys = palette(word=word)
    found = Palette(tmp_path, given, FirstChannel())(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert np.array_equal(found.ravel(), greys)


def test_indices_beyond_a_palette_are_its_ends(tmp_path):
    given, greys = palette(first=10, count=100)
    found = Palette(tmp_path, given, FirstChannel())(np.array([[0, 10, 11, 109, 110, 255]] * 4, dtype=np.uint8))
    assert found[0].tolist() == [greys[0], greys[0], greys[1], greys[99], greys[99], greys[99]]


def test_a_palette_that_is_cut_off(tmp_path):
    given, _ = palette()
    given.GreenPaletteColorLookupTableData = b"\x00" * 10
    with pytest.raises(InputError, match="no readable palette of colours"):
        Palette(tmp_path, given, FirstChannel())
