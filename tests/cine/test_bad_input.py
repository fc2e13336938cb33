from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import itk
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    DEMO,
    H,
    T,
    W,
    cine_of,
    folder_of,
    long_video,
    loop,
    metaimage_bytes,
    nifti_of,
    nrrd_bytes,
    truncated,
    write_dicom,
)


def with_value(value: float) -> np.ndarray:
    values = loop().transpose(2, 1, 0) / np.float32(255)
    values[3, 4, 2] = value
    return values


def cube() -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 40, 40)), 4)
    return np.round(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def text(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).write_text("this is no image" * 20, encoding="utf-8")
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
    "empty folder": (lambda p: p, "no cine and no frames in this folder"),
    "one image in a folder": (lambda p: folder_of(p, loop()[0]), "only 1 frame"),
    "a single image": (lambda p: folder_of(p, loop()[0]) / "0.png", "a single image"),
    "images of two sizes": (
        lambda p: folder_of(p, loop()[0], loop()[0, :-2]),
        "64 × 46 pixels, but 0.png has 64 × 48",
    ),
    "images of two types": (lambda p: folder_of(p, loop()[0], loop()[0].astype(np.uint16)), "uint16, but 0.png has"),
    "damaged image": (lambda p: text(folder_of(p, *loop()), "9.png").parent, "9.png: not a readable image"),
    "one frame": (lambda p: nifti_of(p, loop(1).transpose(2, 1, 0)), "only 1 frame"),
    "one frame DICOM": (lambda p: write_dicom(p / "c.dcm", loop(1)), "only 1 frame"),
    "NaN": (lambda p: nifti_of(p, with_value(np.nan)), "frame 3 of 6 has NaN or infinite"),
    "infinite": (lambda p: nifti_of(p, with_value(np.inf)), "frame 3 of 6 has NaN or infinite"),
    "constant": (lambda p: nifti_of(p, np.full((W, H, T), 7, np.uint8)), "all 6 frames have a single constant value"),
    "one blank frame": (
        lambda p: nifti_of(p, loop().transpose(2, 1, 0) * (np.arange(T) != 1).astype(np.uint8)),
        "frame 2 of 6 has a single constant value",
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
    "text as NIfTI": (lambda p: text(p, "c.nii.gz"), "the NIfTI file cannot be read"),
    "mha cut": (short_metaimage, "truncated"),
    "text as MetaImage": (lambda p: text(p, "c.mhd"), "not a MetaImage"),
    "mp4 cut": (
        lambda p: truncated(long_video(p, ".mp4"), p / "c.mp4", 0.5),
        r"its last \d+ bytes are missing",
    ),
    "mp4 cut late": (lambda p: truncated(long_video(p, ".mp4"), p / "c.mp4", 0.999), "truncated"),
    "avi cut": (
        lambda p: truncated(long_video(p, ".avi"), p / "c.avi", 0.5),
        r"its last \d+ bytes are missing",
    ),
    "gif cut": (short_gif, "GIF"),
    "text as video": (lambda p: text(p, "c.mp4"), "the video cannot be read"),
    "text as GIF": (lambda p: text(p, "c.gif"), "not a readable GIF"),
    "unknown kind": (lambda p: text(p, "c.docx"), "not a cine file of a known type"),
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


@pytest.mark.parametrize("kind", ["nii.gz", "mha", "nrrd", "nrrd bzip2"])
def test_every_damaged_byte_of_packed_pixels_is_found(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (8, H, W), dtype=np.uint8)
    if kind == "nii.gz":
        path = nifti_of(tmp_path, values.transpose(2, 1, 0))
    else:
        path = tmp_path / f"c.{kind.split()[0]}"
        if kind == "mha":
            path.write_bytes(metaimage_bytes(values, zlib.compress(values.tobytes()), CompressedData="True"))
        else:
            head = nrrd_bytes(values[:0], "bzip2" if "bzip2" in kind else "gzip", sizes=f"{W} {H} 8")
            head = head[: head.index(b"\n\n") + 2]
            packed = (bz2 if "bzip2" in kind else gzip).compress(values.tobytes())
            path.write_bytes(head + packed)
    whole = path.read_bytes()
    read_cine(path)
    for place in [*range(len(whole) // 3, len(whole), 997), len(whole) - 3]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=path.name):
            read_cine(path)
    path.write_bytes(whole[:-2])
    with pytest.raises(InputError, match=path.name):
        read_cine(path)
