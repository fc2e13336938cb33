"""Pixels of a DICOM file as grey values in [0, 1]: bits, signs, inversion, palettes; too few are refused."""

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.pixels import convert_color_space

from cardiac_motion.cine.dicom_pixels import Palette, stored_frames
from cardiac_motion.cine.loop import FirstChannel, Loop
from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import loop, write_dicom


def dataset(path, values, **tags):
    return pydicom.dcmread(write_dicom(path, values, **tags))


def dicom_frames(path, dataset, found):
    frames, scale = stored_frames(path, dataset, found)
    return scale(frames, found.notes)


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
    with pytest.raises(InputError, match="the colour palette cannot be read"):
        Palette(tmp_path, given, FirstChannel())


def native(path, data, count=None, **tags):
    """A file whose pixels are ``data`` as they are, whatever the tags say."""
    given = pydicom.dcmread(write_dicom(path, loop(), **tags))
    given.PixelData = data
    given["PixelData"].VR = "OW" if given.BitsAllocated > 8 else "OB"
    if count is not None:
        given.NumberOfFrames = count
    given.save_as(path, enforce_file_format=True)
    return path


def pairs_of(values, cb=128, cr=128):
    """Y Y Cb Cr for two pixels, as PS3.3 C.7.6.3.1.2 stores YBR_FULL_422."""
    found = np.empty((*values.shape[:2], values.shape[2] // 2, 4), np.uint8)
    found[..., 0], found[..., 1], found[..., 2], found[..., 3] = values[..., 0::2], values[..., 1::2], cb, cr
    return found.tobytes()


COLOUR = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}


def grey_of(path):
    cine = read_cine(path)
    assert not cine.meta["colour_flow"]
    return np.asarray(cine)[0] * 255


@pytest.mark.parametrize("named", ["YBR_FULL_422", "YBR_PARTIAL_422", "YBR_FULL", "RGB"])
def test_two_bytes_a_pixel_are_subsampled_colours_whatever_they_are_called(tmp_path, named):
    path = native(tmp_path / "a.dcm", pairs_of(loop()), photometric=named, **COLOUR)
    assert np.allclose(grey_of(path), loop(), atol=1e-3)


@pytest.mark.parametrize("named", ["YBR_FULL_422", "YBR_FULL", "RGB", "MONOCHROME2"])
def test_three_equal_channels_are_grey_whatever_they_are_called(tmp_path, named):
    path = native(tmp_path / "a.dcm", np.repeat(loop()[..., None], 3, -1).tobytes(), photometric=named, **COLOUR)
    assert np.allclose(grey_of(path), loop(), atol=1e-3)


@pytest.mark.parametrize("named", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("middle", [128, 124])
def test_constant_cb_and_cr_are_grey_whatever_they_are_called(tmp_path, named, middle):
    values = np.stack([loop(), np.full_like(loop(), middle), np.full_like(loop(), middle)], -1)
    path = native(tmp_path / "a.dcm", values.tobytes(), photometric=named, **COLOUR)
    assert np.allclose(grey_of(path), loop(), atol=1.01)


@pytest.mark.parametrize(("named", "stored"), [("RGB", "YBR_FULL"), ("YBR_FULL", "RGB"), ("RGB", "RGB")])
def test_colour_doppler_is_found_whatever_its_model_is_called(tmp_path, named, stored):
    rgb = np.repeat(loop()[..., None], 3, -1)
    rgb[:, :8] = 200
    rgb[:, 20:32, 10:40] = (220, 30, 20)
    values = rgb if stored == "RGB" else convert_color_space(rgb, "RGB", "YBR_FULL")
    cine = read_cine(native(tmp_path / "a.dcm", values.tobytes(), photometric=named, **COLOUR))
    assert cine.meta["colour_flow"] and np.abs(np.asarray(cine)[0] * 255 - rgb[..., 0]).max() < 4


@pytest.mark.parametrize(("samples", "data"), [(3, loop()), (1, np.repeat(loop()[..., None], 3, -1))])
def test_the_length_settles_the_number_of_samples(tmp_path, samples, data):
    path = native(tmp_path / "a.dcm", data.tobytes(), photometric="RGB", SamplesPerPixel=samples, PlanarConfiguration=0)
    assert np.allclose(grey_of(path), loop(), atol=1e-3)


SIXTEEN = {"BitsAllocated": 16, "HighBit": 15}


@pytest.mark.parametrize(
    ("values", "tags", "tolerance"),
    [
        (loop().astype("<i2"), {"BitsStored": 16, "PixelRepresentation": 1}, 1e-3),
        (loop().astype("<u2"), {"BitsStored": 16}, 1e-3),
        (loop().astype("<u2"), {"BitsStored": 12, "HighBit": 11}, 1e-3),
        (loop().astype("<i2") * 8 - 1024, {"BitsStored": 16, "PixelRepresentation": 1}, 1.5),
        (loop().astype("<u2") * 16, {"BitsStored": 16}, 1.5),
        (loop().astype("<u2") * 16, {"BitsStored": 10, "HighBit": 9}, 1.5),
        (loop().astype("<u2") * 256, {"BitsStored": 8, "HighBit": 15}, 1.5),
        (255 - loop().astype("<i2"), {"BitsStored": 16, "PixelRepresentation": 1, "RescaleSlope": -1}, 1e-3),
        (
            (loop().astype("<i2") * 8 - 1024),
            {"BitsStored": 16, "PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 2048},
            1.5,
        ),
        ((loop().astype("<u2") * 16), {"BitsStored": 12, "WindowCenter": 20, "WindowWidth": 30}, 1.5),
        ((loop().astype("<u2") * 16), {"BitsStored": 12, "WindowCenter": "nan", "WindowWidth": "?"}, 1.5),
    ],
    ids=["signed", "unsigned", "12 bits", "signed of 12", "12 in 16", "more than declared", "high byte", "slope -1",
         "window", "window of nothing", "window that is none"],
)  # fmt: skip
def test_the_values_set_the_scale_not_the_declared_bits(tmp_path, values, tags, tolerance):
    path = write_dicom(tmp_path / "a.dcm", loop())
    given = pydicom.dcmread(path)
    for key, value in {**SIXTEEN, **tags}.items():
        if key.startswith("Window") and isinstance(value, str):
            tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(key))
            raw = value.encode().ljust(4)
            given._dict[tag] = pydicom.dataelem.RawDataElement(tag, "DS", 4, raw, 0, False, True)
        else:
            setattr(given, key, value)
    given.PixelData = values.astype("<i2" if tags.get("PixelRepresentation") else "<u2").tobytes()
    given["PixelData"].VR = "OW"
    given.save_as(path, enforce_file_format=True)
    assert np.abs(grey_of(path) - loop()).max() < tolerance


@pytest.mark.parametrize("offset", [0, 128, 1000, -3000, 30000])
def test_a_flat_picture_is_refused_whatever_its_offset(tmp_path, offset):
    noise = (np.random.default_rng(0).random(loop().shape) < 0.5).astype(int) + offset
    wide = {**SIXTEEN, "BitsStored": 16, "PixelRepresentation": 1}
    if 0 <= offset < 250:
        path = write_dicom(tmp_path / "a.dcm", noise.astype(np.uint8))
    else:
        path = native(tmp_path / "a.dcm", noise.astype("<i2").tobytes(), **wide)
    with pytest.raises(InputError, match="the cine is flat"):
        read_cine(path)


def test_one_value_far_from_all_others_does_not_set_the_scale(tmp_path):
    values = loop().astype("<u2")
    values[2, 3, 4] = 65535
    path = native(tmp_path / "a.dcm", values.tobytes(), **SIXTEEN, BitsStored=16)
    shown = grey_of(path)
    values[2, 3, 4] = shown[2, 3, 4]
    assert np.allclose(shown, values, atol=1e-3)


OPTIONAL = (
    "NumberOfFrames", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "BitsAllocated",
    "PhotometricInterpretation",
)  # fmt: skip


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_what_the_pixels_tell_may_be_missing(tmp_path, missing, syntax):
    path = write_dicom(tmp_path / "a.dcm", loop(), syntax=syntax)
    given = pydicom.dcmread(path)
    delattr(given, missing)
    given.save_as(path)
    assert np.allclose(grey_of(path), loop(), atol=1e-3)
    assert np.allclose(grey_of(path.parent), loop(), atol=1e-3)


def test_slices_of_volumes_are_no_frames(tmp_path):
    with pytest.raises(InputError, match="3 frames declared but 6 can be decoded, 2 for each: probably a 3D volume"):
        read_cine(native(tmp_path / "a.dcm", loop().tobytes(), 3))
    philips = write_dicom(tmp_path / "b.dcm", loop(), SOPClassUID="1.2.840.113543.6.6.1.3.10002")
    with pytest.raises(InputError, match="3D volume over time"):
        read_cine(philips)
