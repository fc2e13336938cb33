from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import itk
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.examples import get_path
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from scipy import ndimage

from common.cine import frame_pairs, read_cine, sector_mask, write_cine
from common.errors import InputError

DEMO = Path(get_path("ybr_color"))
T, H, W = 6, 48, 64


def loop(count: int = T, height: int = H, width: int = W) -> np.ndarray:
    """A bright disc that moves over a textured ground, as bytes ``[T, H, W]``."""
    y, x = np.mgrid[:height, :width]
    ground = 40 + 20 * np.sin(x / 5) + 15 * np.cos(y / 4)
    discs = [150 * ((y - height / 2) ** 2 + (x - width / 3 - 2 * t) ** 2 < 100) for t in range(count)]
    return np.stack([ground + disc for disc in discs]).astype(np.uint8)


def region(
    x0: int = 0, y0: int = 0, x1: int = W - 1, y1: int = H - 1, *, kind: int = 1, cm: float = 0.05, **more: Any
) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = more.get("spatial", 1), kind
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = more.get("units", 3)
    item.PhysicalDeltaX, item.PhysicalDeltaY = cm, more.get("cm_y", cm)
    return item


def write_dicom(
    path: Path,
    values: np.ndarray,
    *,
    photometric: str = "MONOCHROME2",
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> Path:
    """A DICOM ultrasound file of ``[T, H, W]`` or ``[T, H, W, 3]``; ``tags`` by DICOM keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape[:3]
    dataset.SamplesPerPixel = 3 if values.ndim == 4 else 1
    if values.ndim == 4:
        dataset.PlanarConfiguration = tags.pop("PlanarConfiguration", 0)
        values = values.transpose(0, 3, 1, 2) if dataset.PlanarConfiguration else values
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored = tags.pop("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(np.issubdtype(values.dtype, np.signedinteger))
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = np.ascontiguousarray(values).tobytes()
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_nifti(
    path: Path, values: np.ndarray, zooms: tuple[float, ...], units: tuple[str, str], origin: float = 0.0
) -> Path:
    affine = np.diag([*zooms[:3], *[1.0] * (4 - len(zooms[:3]))])
    affine[2, 3] = origin
    image = nib.Nifti1Image(values, affine)
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units(*units)
    nib.save(image, path)
    return path


def cine_of(values: np.ndarray, **meta: Any) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values.astype(np.float32) / 255)[None], meta=meta)


def maximal_difference(cine: MetaTensor, values: np.ndarray) -> float:
    return float(np.abs(np.asarray(cine)[0] - values).max())


# Real files


def test_the_real_cine_that_ships_with_pydicom() -> None:
    cine = read_cine(DEMO)
    assert cine.shape == (1, 30, 240, 320) and cine.dtype == torch.float32
    assert 0 <= cine.min() and cine.max() <= 1
    assert cine.meta["spacing"] is None
    assert "x 84 to 595" in cine.meta["notes"][0] and "320 × 240" in cine.meta["notes"][0]
    assert cine.meta["frame_times"][:2] == [0.0, pytest.approx(0.033333)]
    assert cine.meta["regions"][0]["x1"] == 595
    assert read_cine(DEMO, spacing=(1.0, 1.1)).meta["spacing"] == (1.0, 1.1)


def test_a_real_video_and_its_sector(data_dir: Path) -> None:
    cine = read_cine(data_dir / "cines" / "a4c_normal.mp4")
    assert cine.shape == (1, 50, 480, 624)
    np.testing.assert_allclose(np.diff(cine.meta["frame_times"]), 1 / 51, rtol=1e-6)
    mask = sector_mask(cine)
    assert 0.25 < mask.float().mean() < 0.45
    assert mask[300, 300] and not mask[385, 100] and not mask[:, :60].any() and not mask[400:].any()


def test_volumes_are_refused_and_planes_too(data_dir: Path) -> None:
    for path in sorted((data_dir / "Task04_Hippocampus" / "imagesTr").glob("hip*.nii.gz"))[:40]:
        with pytest.raises(InputError, match="3D volume"):
            read_cine(path)
    with pytest.raises(InputError, match="only 1 frame"):
        read_cine(data_dir / "CAMUS_616um" / "patient0001" / "patient0001_4CH_ED.nii.gz")


def test_sector_of_a_real_still_frame(data_dir: Path) -> None:
    folder = data_dir / "CAMUS_616um" / "patient0001"
    frame = np.asarray(nib.load(folder / "patient0001_4CH_ED.nii.gz").dataobj).T
    mask = sector_mask(torch.from_numpy(frame / 255.0)[None, None].float(), radius=0)
    assert mask[frame > 10].float().mean() > 0.98
    assert mask[:40, :60].sum() == 0


@pytest.fixture
def data_dir() -> Path:
    folder = os.environ.get("DATA_DIR")
    if not folder:
        pytest.skip("needs the public data sets in the folder that DATA_DIR names")
    return Path(folder)


# DICOM


@pytest.mark.parametrize(
    "make",
    [
        lambda v: (v, {}),
        lambda v: (255 - v, {"photometric": "MONOCHROME1"}),
        lambda v: (v, {"syntax": RLELossless}),
        lambda v: (v, {"syntax": JPEG2000Lossless}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB"}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB", "PlanarConfiguration": 1}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB", "syntax": RLELossless}),
        lambda v: (np.stack([v, v * 0 + 128, v * 0 + 128], -1), {"photometric": "YBR_FULL"}),
        lambda v: (np.round(v * (4095 / 255)).astype(np.uint16), {"BitsStored": 12}),
        lambda v: (v.astype(np.uint16) * 257, {}),
        lambda v: ((v.astype(np.int32) * 257 - 32768).astype(np.int16), {}),
    ],
    ids="mono2 mono1 rle jpeg2000 rgb planar rgb-rle ybr 12-bit 16-bit signed".split(),
)
def test_dicom_pixels(tmp_path: Path, make: Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]) -> None:
    values, options = make(loop())
    cine = read_cine(write_dicom(tmp_path / "c.dcm", values, **options))
    assert cine.shape == (1, T, H, W)
    assert maximal_difference(cine, loop() / 255.0) < 2.5e-4 + (options.get("photometric") == "YBR_FULL") / 255


def test_dicom_palette(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    tags: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tags[f"{name}PaletteColorLookupTableData"] = ramp[::-1].tobytes()
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), photometric="PALETTE COLOR", **tags))
    assert maximal_difference(cine, (255 - loop()) / 255.0) < 1e-6


def test_dicom_without_suffix_and_with_colour_flow(tmp_path: Path) -> None:
    values = np.stack([loop()] * 3, -1)
    values[:, 10:30, 10:40] = (200, 20, 20)
    values[:, :, :, 0] += np.arange(T, dtype=np.uint8)[:, None, None]
    cine = read_cine(write_dicom(tmp_path / "IM_0001", values, photometric="RGB"))
    assert maximal_difference(cine, values[..., 0] / 255.0) < 1e-6
    assert any("coloured" in note for note in cine.meta["notes"])


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_RLE.dcm", "JPEGLSNearLossless_08.dcm"]
)
def test_compressed_syntaxes_decode_to_one_frame(name: str) -> None:
    path = pydicom.data.get_testdata_file(name, download=False)
    with pytest.raises(InputError, match="only 1 frame"):
        read_cine(path)


@pytest.mark.parametrize(
    ("regions", "more", "expected", "note"),
    [
        ([region(cm=0.05)], {}, (0.5, 0.5), None),
        ([region(cm=0.05, cm_y=0.04)], {}, (0.4, 0.5), None),
        ([region(cm=-0.05)], {}, (0.5, 0.5), None),
        ([region(x1=W, y1=H)], {}, (0.5, 0.5), None),
        ([region(x1=2 * W)], {}, None, "resized or cropped"),
        ([region(x1=2 * W)], {"PixelSpacing": [0.5, 0.5]}, None, "resized or cropped"),
        ([region(0, 0, 20, 20, cm=0.01), region(20, 0, 60, 40, cm=0.03)], {}, (0.3, 0.3), "differ in spacing"),
        ([region(y1=20, cm=0.03), region(y0=21, kind=3, units=4, spatial=3)], {}, (0.3, 0.3), None),
        ([region(units=4, kind=3, spatial=3)], {}, None, "no spacing in mm"),
        ([region(units=0)], {"PixelSpacing": [0.7, 0.6]}, (0.7, 0.6), None),
        ([], {"PixelSpacing": [0.7, 0.6]}, (0.7, 0.6), None),
        ([], {}, None, "no spacing in mm"),
    ],
)
def test_dicom_spacing(
    tmp_path: Path, regions: list[Dataset], more: dict[str, Any], expected: tuple[float, float] | None, note: str | None
) -> None:
    tags = {"SequenceOfUltrasoundRegions": regions, "FrameTime": 20, **more}
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), **tags))
    assert cine.meta["spacing"] == (None if expected is None else pytest.approx(expected))
    assert len(cine.meta["regions"]) == len(regions)
    assert [n for n in cine.meta["notes"] if note is None or note not in n] == []
    assert read_cine(tmp_path / "c.dcm", spacing=0.9).meta["spacing"] == (0.9, 0.9)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"FrameTime": 20}, np.arange(T) * 0.02),
        ({"FrameTimeVector": [0, 10, 20, 10, 20, 10]}, [0, 0.01, 0.03, 0.04, 0.06, 0.07]),
        ({"FrameTimeVector": [0, 10], "FrameTime": 20}, np.arange(T) * 0.02),
        ({"CineRate": 40}, np.arange(T) / 40),
        ({"RecommendedDisplayFrameRate": 25}, np.arange(T) / 25),
        ({}, None),
    ],
)
def test_dicom_times(tmp_path: Path, tags: dict[str, Any], expected: Any) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), RWaveTimeVector=[5.0, 905.0], **tags))
    if expected is None:
        assert cine.meta["frame_times"] is None
    else:
        np.testing.assert_allclose(cine.meta["frame_times"], expected, atol=1e-9)
    assert cine.meta["r_waves"] == [0.005, 0.905]


# NIfTI and MetaImage


@pytest.mark.parametrize(
    ("zooms", "units", "spacing", "times"),
    [
        ((0.3, 0.4, 0.02), ("mm", "sec"), (0.4, 0.3), True),
        ((0.3, 0.4, 20.0), ("mm", "msec"), (0.4, 0.3), True),
        ((0.308, 0.308, 1.0), ("mm", "sec"), (0.308, 0.308), False),
        ((1.0, 1.0, 1.0), ("unknown", "unknown"), None, False),
        ((0.3, 0.4, 0.02), ("unknown", "unknown"), None, False),
    ],
)
def test_nifti_axes_units_and_times(
    tmp_path: Path, zooms: tuple[float, ...], units: tuple[str, str], spacing: Any, times: bool
) -> None:
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", loop().transpose(2, 1, 0), zooms, units))
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    if times:
        np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.02, rtol=1e-5)
    else:
        assert cine.meta["frame_times"] is None
        assert any("third axis" in note for note in cine.meta["notes"])


def test_nifti_without_units_is_a_cine_where_its_frames_are_alike(tmp_path: Path) -> None:
    values = phantom(60)[0][:, ::2, ::2]
    unnamed = ("unknown", "unknown")
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", values.transpose(2, 1, 0), (1.0, 1.0, 1.0), unnamed))
    assert cine.shape == (1, 60, 80, 100) and cine.meta["spacing"] is None and cine.meta["frame_times"] is None


def test_nifti_with_an_explicit_time_axis(tmp_path: Path) -> None:
    values = loop().transpose(2, 1, 0)[:, :, None]
    cine = read_cine(write_nifti(tmp_path / "c.nii", values, (0.3, 0.4, 1.0, 0.5), ("mm", "sec"), origin=30.0))
    assert cine.shape == (1, T, H, W) and cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.5)


@pytest.mark.parametrize(
    ("values", "expected", "noted"),
    [
        (loop() / np.float32(255), loop() / 255.0, False),
        (loop().astype(np.int16), loop() / 255.0, True),
        (loop().astype(np.float32) * 100 - 50, (loop() - 5.0) / (loop().max() - 5.0), True),
    ],
    ids=["unit floats", "bytes in int16", "other floats"],
)
def test_scaling_of_values(tmp_path: Path, values: np.ndarray, expected: np.ndarray, noted: bool) -> None:
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", values.transpose(2, 1, 0), (0.3, 0.3, 0.02), ("mm", "sec")))
    if values.min() < 0:
        expected = (values - values.min()) / np.ptp(values)
    assert maximal_difference(cine, expected) < 1e-6
    assert bool(cine.meta["notes"]) == noted


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_metaimage_as_itk_writes_it(tmp_path: Path, suffix: str, compression: bool, kind: type) -> None:
    values = loop().astype(kind) / kind(1 if kind is not np.float32 else 255)
    image = itk.image_from_array(values.astype(kind))
    image.SetSpacing([0.3, 0.4, 0.02])
    itk.imwrite(image, str(tmp_path / f"c{suffix}"), compression=compression)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    assert cine.meta["frame_times"][1] == pytest.approx(0.02)


def test_metaimage_volume_is_refused(tmp_path: Path) -> None:
    image = itk.image_from_array(loop())
    image.SetSpacing([0.7, 0.7, 1.0])
    image.SetOrigin([0.0, 0.0, -35.0])
    itk.imwrite(image, str(tmp_path / "c.mha"))
    with pytest.raises(InputError, match="3D volume, not a 2D cine: its slices have a position"):
        read_cine(tmp_path / "c.mha")


# Video, GIF, folders


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_takes_the_first_channel(tmp_path: Path, suffix: str) -> None:
    colour = np.stack([loop(), loop() // 2, loop() // 3], -1)
    imageio.imwrite(tmp_path / f"c{suffix}", colour, fps=40, codec="libx264", macro_block_size=1, quality=10)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert cine.shape == (1, T, H, W)
    assert np.abs(np.asarray(cine)[0] - loop() / 255.0).mean() < 0.03
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) / 40, rtol=1e-3)
    assert cine.meta["spacing"] is None


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", np.uint8), ("tif", np.uint8), ("bmp", np.uint8), ("png", np.uint16)]
)
def test_folder_in_natural_order(tmp_path: Path, suffix: str, kind: type) -> None:
    values = loop(12)
    for t, frame in enumerate(values):
        imageio.imwrite(tmp_path / f"frame{t}.{suffix}", frame.astype(kind) * (np.iinfo(kind).max // 255))
    (tmp_path / "notes.txt").write_text("ignored")
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, values / 255.0) < 1e-6
    assert cine.meta["frame_times"] is None and cine.meta["spacing"] is None


# Writing


@pytest.mark.parametrize(
    ("suffix", "spacing", "times", "tolerance"),
    [
        (".nii.gz", (0.4, 0.3), [0.02 * t for t in range(T)], 0),
        (".nii", None, None, 0),
        (".nii.gz", None, [0, 0.01, 0.03, 0.04, 0.06, 0.07], 0),
        (".nii.gz", (1.0, 1.0), [1.0 * t for t in range(T)], 0),
        (".gif", None, [0.02 * t for t in range(T)], 0),
        (".mp4", None, [0.02 * t for t in range(T)], 0.03),
    ],
)
def test_round_trip(tmp_path: Path, suffix: str, spacing: Any, times: Any, tolerance: float) -> None:
    cine = cine_of(loop(), spacing=spacing, frame_times=times)
    write_cine(tmp_path / f"c{suffix}", cine)
    again = read_cine(tmp_path / f"c{suffix}")
    assert again.shape == cine.shape
    assert (again - cine).abs().mean() <= tolerance / 3 and (again - cine).abs().max() <= 4 * tolerance
    assert again.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    if times is None:
        assert again.meta["frame_times"] is None
    else:
        np.testing.assert_allclose(again.meta["frame_times"], times, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [f"c{suffix}"]


def test_odd_sizes_are_written_as_mp4(tmp_path: Path) -> None:
    write_cine(tmp_path / "c.mp4", cine_of(loop(4, 47, 63)))
    assert read_cine(tmp_path / "c.mp4").shape == (1, 4, 47, 63)


@pytest.mark.parametrize(
    ("name", "cine", "match"),
    [
        ("c.xyz", torch.rand(1, 3, 8, 8), "written as one of"),
        ("c.nii.gz", torch.rand(3, 8, 8), r"expected a cine of shape \[1, T, H, W\], got \[3, 8, 8\]"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, cine: torch.Tensor, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        write_cine(tmp_path / name, cine)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "c.nii.gz"
    write_cine(target, cine_of(loop()))
    before = target.read_bytes()

    def fail(*_: Any) -> None:
        with open("/dev/full", "wb") as file:
            file.write(b"0" * 10**6)

    monkeypatch.setattr("common.cine._write_nifti", fail)
    with pytest.raises(InputError, match="no space left"):
        write_cine(target, cine_of(loop()))
    assert target.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/c\.nii\.gz: cannot be written"):
        write_cine(tmp_path / "file/c.nii.gz", cine_of(loop()))


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "reference").touch()
    write_cine(tmp_path / "c.nii.gz", cine_of(loop()))
    assert stat.S_IMODE((tmp_path / "c.nii.gz").stat().st_mode) == stat.S_IMODE((tmp_path / "reference").stat().st_mode)


# Frame pairs and the sector


def test_frame_pairs() -> None:
    cine = cine_of(loop())
    pairs = frame_pairs(cine)
    assert pairs.shape == (T - 1, 2, H, W) and type(pairs) is torch.Tensor
    assert torch.equal(pairs[2, 0], cine.as_tensor()[0, 2]) and torch.equal(pairs[2, 1], cine.as_tensor()[0, 3])


def phantom(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A sector of changing speckle with a black cavity, beside text, ticks, a colour bar and a trace."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :200]
    radius, angle = np.hypot(y - 5, x - 100), np.arctan2(x - 100, y - 5)
    sector = (radius < 120) & (np.abs(angle) < 0.7)
    frames = np.where(sector, rng.uniform(0.1, 0.8, (count, 160, 200)), 0)
    frames[:, (y - 80) ** 2 + (x - 100) ** 2 < 15**2] = 0
    frames[:, 10:20, 5:50:3] = 0.9
    frames[:, 20:120, 190:196] = np.linspace(0.9, 0.1, 100)[:, None]
    frames[:, 30:90:20, 30:34] = 0.9
    frames[:, 150, :] = 0.7
    return frames.astype(np.float32), sector


def test_sector_mask_of_a_phantom() -> None:
    frames, sector = phantom()
    cine = torch.from_numpy(frames)[None]
    exact = sector_mask(cine, radius=0).numpy()
    assert 2 * (exact & sector).sum() / (exact.sum() + sector.sum()) > 0.97
    mask = sector_mask(cine).numpy()
    assert mask[sector].mean() > 0.999
    assert not mask[150].any() and not mask[20:110, 190:196].any() and not mask[10:20, 5:50].any()
    assert not mask[30:90:20, 30:34].any()


@pytest.mark.parametrize("radius", [4, 16])
def test_sector_mask_is_widened_by_the_radius(radius: int) -> None:
    frames = np.zeros((5, 120, 120), dtype=np.float32)
    frames[:, 40:80, 40:80] = np.random.default_rng(0).uniform(0.2, 0.9, (5, 40, 40))
    mask = sector_mask(torch.from_numpy(frames)[None], radius).numpy()
    assert np.flatnonzero(mask[60]).tolist() == list(range(40 - radius, 80 + radius))


def test_sector_mask_of_the_demo_leaves_out_the_text() -> None:
    mask = sector_mask(read_cine(DEMO))
    assert mask[100, 160] and not mask[:30, :60].any() and not mask[:, 290:].any() and not mask[225:].any()


def test_sector_mask_without_echo_is_everything() -> None:
    assert sector_mask(torch.zeros(1, 3, 20, 20)).all()


# Bad input


def truncated(source: Path, target: Path, share: float) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def folder_of(tmp_path: Path, *frames: np.ndarray) -> Path:
    (tmp_path / "frames").mkdir()
    for t, frame in enumerate(frames):
        imageio.imwrite(tmp_path / "frames" / f"{t}.png", frame)
    return tmp_path / "frames"


def nifti_of(tmp_path: Path, values: np.ndarray, zooms: tuple[float, ...] = (0.3, 0.3, 0.02), **more: Any) -> Path:
    return write_nifti(tmp_path / "c.nii.gz", values, zooms, more.pop("units", ("mm", "sec")), **more)


def with_value(value: float) -> np.ndarray:
    values = loop().transpose(2, 1, 0) / np.float32(255)
    values[3, 4, 2] = value
    return values


def long_video(tmp_path: Path, suffix: str) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (30, H, W, 3), dtype=np.uint8)
    options: dict[str, Any] = {"output_params": ["-movflags", "faststart"]} if suffix == ".mp4" else {}
    imageio.imwrite(tmp_path / f"whole{suffix}", noise, fps=25, codec="libx264", macro_block_size=1, **options)
    return tmp_path / f"whole{suffix}"


def cube() -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 40, 40)), 4)
    return np.round(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def text(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).write_text("this is no image" * 20)
    return tmp_path / name


def short_metaimage(tmp_path: Path) -> Path:
    itk.imwrite(itk.image_from_array(loop()), str(tmp_path / "w.mha"))
    return truncated(tmp_path / "w.mha", tmp_path / "c.mha", 0.6)


def short_gif(tmp_path: Path) -> Path:
    write_cine(tmp_path / "w.gif", cine_of(loop()))
    return truncated(tmp_path / "w.gif", tmp_path / "c.gif", 0.6)


def short_nifti(tmp_path: Path, suffix: str) -> Path:
    write_cine(tmp_path / f"w{suffix}", cine_of(loop()))
    return truncated(tmp_path / f"w{suffix}", tmp_path / f"c{suffix}", 0.6)


def slices_in_dicom(tmp_path: Path) -> Path:
    return write_dicom(tmp_path / "c.dcm", loop(), GridFrameOffsetVector=[float(t) for t in range(T)])


def undeclared_frames(tmp_path: Path) -> Path:
    dataset = pydicom.dcmread(DEMO)
    dataset.NumberOfFrames = 40
    dataset.save_as(tmp_path / "c.dcm")
    return tmp_path / "c.dcm"


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "none.dcm", "no such file"),
    "empty file": (lambda p: Path(p / "c.nii.gz").touch() or p / "c.nii.gz", "empty"),
    "empty folder": (lambda p: p, "no frames in this folder"),
    "one image in a folder": (lambda p: folder_of(p, loop()[0]), "only 1 frame"),
    "a single image": (lambda p: folder_of(p, loop()[0]) / "0.png", "a single image"),
    "images of two sizes": (
        lambda p: folder_of(p, loop()[0], loop()[0, :-2]),
        "64 × 46 pixels where 0.png has 64 × 48",
    ),
    "images of two types": (lambda p: folder_of(p, loop()[0], loop()[0].astype(np.uint16)), "uint16 where 0.png has"),
    "damaged image": (lambda p: text(folder_of(p, *loop()), "9.png").parent, "9.png: not a readable image"),
    "one frame": (lambda p: nifti_of(p, loop(1).transpose(2, 1, 0)), "only 1 frame"),
    "one frame DICOM": (lambda p: write_dicom(p / "c.dcm", loop(1)), "only 1 frame"),
    "NaN": (lambda p: nifti_of(p, with_value(np.nan)), "frame 3 of 6 has NaN or infinite"),
    "infinite": (lambda p: nifti_of(p, with_value(np.inf)), "frame 3 of 6 has NaN or infinite"),
    "constant": (lambda p: nifti_of(p, np.full((W, H, T), 7, np.uint8)), "all 6 frames have one constant value"),
    "one blank frame": (
        lambda p: nifti_of(p, loop().transpose(2, 1, 0) * (np.arange(T) != 1).astype(np.uint8)),
        "frame 2 of 6 has one constant value",
    ),
    "identical frames": (lambda p: nifti_of(p, np.repeat(loop(1), T, 0).transpose(2, 1, 0)), "identical"),
    "DICOM cut early": (lambda p: truncated(DEMO, p / "c.dcm", 0.02), "truncated"),
    "DICOM cut in the middle": (lambda p: truncated(DEMO, p / "c.dcm", 0.5), "truncated|decoded"),
    "DICOM cut late": (lambda p: truncated(DEMO, p / "c.dcm", 0.999), "truncated|decoded"),
    "native DICOM cut": (
        lambda p: truncated(write_dicom(p / "w.dcm", loop()), p / "c.dcm", 0.7),
        "truncated",
    ),
    "DICOM of fewer frames than declared": (undeclared_frames, "frames|truncated"),
    "DICOM slices": (slices_in_dicom, "3D volume"),
    "DICOM without pixels": (lambda p: Path(pydicom.data.get_testdata_file("rtplan.dcm")), "no pixel data"),
    "DICOM dose volume": (lambda p: Path(pydicom.data.get_testdata_file("rtdose.dcm")), "3D volume"),
    "text as DICOM": (lambda p: text(p, "c.dcm"), "not a readable DICOM"),
    "nii.gz cut": (lambda p: short_nifti(p, ".nii.gz"), "truncated"),
    "nii cut": (lambda p: short_nifti(p, ".nii"), "truncated"),
    "text as NIfTI": (lambda p: text(p, "c.nii.gz"), "not a readable NIfTI"),
    "mha cut": (short_metaimage, "truncated"),
    "text as MetaImage": (lambda p: text(p, "c.mhd"), "not a MetaImage"),
    "mp4 cut": (lambda p: truncated(long_video(p, ".mp4"), p / "c.mp4", 0.5), r"30 frames declared but \d+ can be"),
    "mp4 cut late": (lambda p: truncated(long_video(p, ".mp4"), p / "c.mp4", 0.999), "ends early"),
    "avi cut": (lambda p: truncated(long_video(p, ".avi"), p / "c.avi", 0.5), r"30 frames declared but \d+ can be"),
    "gif cut": (short_gif, "GIF"),
    "text as video": (lambda p: text(p, "c.mp4"), "not a readable video"),
    "text as GIF": (lambda p: text(p, "c.gif"), "not a readable GIF"),
    "unknown kind": (lambda p: text(p, "c.docx"), "not a cine file of a known kind"),
    "isotropic volume": (lambda p: nifti_of(p, loop().transpose(2, 1, 0), (1.0, 1.0, 1.0)), "3D volume"),
    "thick slices": (lambda p: nifti_of(p, loop().transpose(2, 1, 0), (0.5, 0.5, 5.0)), "3D volume"),
    "placed slices": (lambda p: nifti_of(p, loop().transpose(2, 1, 0), (0.7, 0.7, 1.0), origin=-40.0), "3D volume"),
    "a cube without units": (
        lambda p: nifti_of(p, cube(), (1.0, 1.0, 1.0), units=("unknown", "unknown")),
        "3D volume",
    ),
    "3D and time": (
        lambda p: nifti_of(p, np.zeros((8, 8, 4, 3), np.uint8), (1.0, 1.0, 1.0, 0.02)),
        r"shape \(8, 8, 4, 3\); expected a 2D cine",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_one_line(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, match = BAD[case]
    path = make(tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError, match=match) as caught:
        read_cine(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("spacing", [0, -1.0, (0.3, float("nan")), (1, 2, 3), (0.5, 0.0)])
def test_a_spacing_that_is_none(spacing: Any) -> None:
    with pytest.raises(InputError, match="positive numbers"):
        read_cine(DEMO, spacing=spacing)


@pytest.mark.parametrize(("colour", "flow"), [("grey", False), ("tint", False), ("doppler", True)])
def test_colour_doppler_is_told_from_a_tint(tmp_path: Path, colour: str, flow: bool) -> None:
    frames = np.random.default_rng(0).integers(60, 250, (3, 40, 48)).astype(np.uint8)
    frames[:, :, :8] = 0
    rgb = np.stack([frames] * 3, axis=-1)
    if colour == "tint":
        rgb = (rgb * [1.0, 0.8, 0.5]).astype(np.uint8)
    elif colour == "doppler":
        rgb[:, 10:25, 15:30] = [220, 30, 20]
        rgb[:, 15:20, 20:25] = [20, 60, 230]
    path = tmp_path / "cine.gif"
    images = [Image.fromarray(frame) for frame in rgb]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    assert read_cine(path).meta["colour_flow"] is flow
