"""Small files of cines in all formats."""

from __future__ import annotations

import gzip
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pydicom
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.examples import get_path
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

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


def long_video(tmp_path: Path, suffix: str) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (30, H, W, 3), dtype=np.uint8)
    options: dict[str, Any] = {"output_params": ["-movflags", "faststart"]} if suffix == ".mp4" else {}
    imageio.imwrite(tmp_path / f"whole{suffix}", noise, fps=25, codec="libx264", macro_block_size=1, **options)
    return tmp_path / f"whole{suffix}"


def video_bytes(
    values: np.ndarray, codec: str = "libx264", container: str = "mp4", rate: int = 25, **more: Any
) -> bytes:
    """A video of grey frames ``[T, H, W]``; ``stamps`` (ms) gives each its own time, ``sar`` the shape of a pixel."""
    file = io.BytesIO()
    stamps, sar, rotation = more.get("stamps"), more.get("sar"), more.get("rotation")
    with av.open(file, "w", format=container) as video:
        stream = video.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *values.shape[1:], "yuv420p"
        stream.options = (
            {"crf": "5", "x265-params": "log-level=none"}
            if codec == "libx265"
            else {"crf": "5"}
            if codec == "libx264"
            else {"qscale": "2"}
        )
        stream.codec_context.gop_size = more.get("gop", 12)
        stream.codec_context.max_b_frames = 0
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        if stamps:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for t, frame in enumerate(values):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray").reformat(format="yuv420p")
            picture.pts = stamps[t] if stamps else t
            picture.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
            video.mux(stream.encode(picture))
        video.mux(stream.encode())
    return file.getvalue()


def write_video_dicom(path: Path, content: bytes, syntax: UID, count: int, **tags: Any) -> Path:
    """A DICOM file around a video: ``content`` in one fragment."""
    write_dicom(path, loop(), **tags)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = count
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def nrrd_bytes(values: np.ndarray, encoding: str = "raw", **fields: str) -> bytes:
    head = {
        "type": "uint8", "dimension": str(values.ndim), "sizes": " ".join(map(str, values.shape[::-1])),
        "encoding": encoding, "kinds": "domain domain time", "spacings": "0.3 0.4 0.02", **fields,
    }  # fmt: skip
    data = values.tobytes()
    text = "NRRD0005\n" + "".join(f"{key}: {value}\n" for key, value in head.items())
    return text.encode("latin-1", "replace") + b"\n" + (gzip.compress(data) if encoding == "gzip" else data)


def metaimage_bytes(values: np.ndarray, data: bytes | None = None, **fields: str) -> bytes:
    head = {
        "ObjectType": "Image", "NDims": str(values.ndim), "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "ElementSpacing": "0.3 0.4 0.02", "DimSize": " ".join(map(str, values.shape[::-1])),
        "ElementType": "MET_UCHAR", **fields, "ElementDataFile": "LOCAL",
    }  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in head.items())
    return text.encode("latin-1", "replace") + (values.tobytes() if data is None else data)
