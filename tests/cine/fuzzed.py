"""Whole small files of every format, ways to damage them, and headers at random."""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cardiac_motion.cine.write import write_cine
from tests.cine.made import (
    cine_of,
    loop,
    metaimage_bytes,
    nrrd_bytes,
    region,
    video_bytes,
    write_dicom,
    write_video_dicom,
)

UNEVEN = [0, 0.1, 0.3, 0.4, 0.5, 1]

# Whole files to damage


def written(name: str, write: Callable[[Path], Any]) -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return name, path.read_bytes()


def palette(path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16)
    tags: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = (ramp << 8).tobytes()
    write_dicom(path, loop(), photometric="PALETTE COLOR", **tags)


def tiff(path: Path) -> None:
    images = [Image.fromarray(frame) for frame in loop()]
    images[0].save(path, save_all=True, append_images=images[1:], compression="tiff_adobe_deflate")


@cache
def whole(kind: str) -> tuple[str, bytes]:
    """Name and content of a small whole file of a kind."""
    return {
        "dicom": lambda: written("c.dcm", lambda p: write_dicom(p, loop(), FrameTime=20)),
        "dicom rle": lambda: written("c.dcm", lambda p: write_dicom(p, loop(), syntax=uid.RLELossless)),
        "dicom jpeg2000": lambda: written("c.dcm", lambda p: write_dicom(p, loop(), syntax=uid.JPEG2000Lossless)),
        "dicom palette": lambda: written("c.dcm", palette),
        "dicom video": lambda: written(
            "c.dcm", lambda p: write_video_dicom(p, video_bytes(loop()), uid.MPEG4HP41, len(loop()))
        ),
        "nii": lambda: written(
            "c.nii", lambda p: write_cine(p, cine_of(loop(), frame_times=[0, 0.1, 0.3, 0.4, 0.5, 1]))
        ),
        "nii.gz": lambda: written("c.nii.gz", lambda p: write_cine(p, cine_of(loop(), spacing=(0.3, 0.3)))),
        "mha": lambda: ("c.mha", metaimage_bytes(loop())),
        "mha zlib": lambda: ("c.mha", metaimage_bytes(loop(), zlib.compress(loop().tobytes()), CompressedData="True")),
        "nrrd": lambda: ("c.nrrd", nrrd_bytes(loop())),
        "nrrd gzip": lambda: ("c.nrrd", nrrd_bytes(loop(), "gzip")),
        "mp4": lambda: ("c.mp4", video_bytes(loop())),
        "mkv": lambda: ("c.mkv", video_bytes(loop(), container="matroska")),
        "avi": lambda: ("c.avi", video_bytes(loop(), "mpeg4", "avi")),
        "mpg": lambda: ("c.mpg", video_bytes(loop(), "mpeg2video", "mpeg")),
        "wmv": lambda: ("c.wmv", video_bytes(loop(), "wmv2", "asf")),
        "gif": lambda: written("c.gif", lambda p: write_cine(p, cine_of(loop()))),
        "tif": lambda: written("c.tif", tiff),
    }[kind]()


KINDS = (
    "dicom", "dicom rle", "dicom jpeg2000", "dicom palette", "dicom video", "nii", "nii.gz", "mha", "mha zlib", "nrrd",
    "nrrd gzip", "mp4", "mkv", "avi", "mpg", "wmv", "gif", "tif",
)  # fmt: skip


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bits that flip, bytes that are set, cut out, doubled or cut off; mostly in the header, where it hurts."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "flip", "set", "word", "cut", "remove", "double"]),
                st.floats(0, 1),
                st.booleans(),
                st.integers(0, 255),
            ),
            min_size=1,
            max_size=6,
        )
    )

    def apply(content: bytes) -> bytes:
        data = bytearray(content)
        for kind, place, in_header, value in steps:
            if not data:
                break
            at = min(int(place * (min(len(data), 700) if in_header else len(data))), len(data) - 1)
            if kind == "flip":
                data[at] ^= 1 << value % 8
            elif kind == "set":
                data[at] = value
            elif kind == "word":
                data[at : at + 4] = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", bytes(4)][value % 4]
            elif kind == "cut":
                del data[at:]
            elif kind == "remove":
                del data[at : at + 1 + value]
            else:
                data[at:at] = data[at : at + 1 + value]
        return bytes(data)

    return apply


# Headers that are invented

EVIL = (0, 1, -1, 2, 3, 7, 255, 65535, 10**6, 2**31 - 1, -(2**31), 1e-30, 1e30, float("nan"), float("inf"), 0.5, 20.0)
WORDS = (
    "",
    " ",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "65535",
    "1000000",
    "4294967296",
    "x" * 300,
    "1 2",
    "é",
    "True",
    "LIST",
)


RANGES = {"<h": (-(2**15), 2**15 - 1), "<B": (0, 255), "<i": (-(2**31), 2**31 - 1), "<I": (0, 2**32 - 1)}


@st.composite
def nifti_headers(draw: st.DrawFn) -> bytes:
    """A NIfTI-1 file with fields at random."""
    header = bytearray(nib.Nifti1Image(loop().transpose(2, 1, 0), np.eye(4)).to_bytes())
    fields = [(40 + 2 * i, "<h") for i in range(8)] + [(76 + 4 * i, "<f") for i in range(8)]
    fields += [(70, "<h"), (72, "<h"), (68, "<h"), (108, "<f"), (112, "<f"), (116, "<f"), (123, "<B"), (0, "<i")]
    fields += [(252, "<h"), (254, "<h"), *((256 + 4 * i, "<f") for i in range(18)), (348, "<B"), (344, "<I")]
    for at, kind in draw(st.lists(st.sampled_from(fields), min_size=1, max_size=8)):
        if kind == "<f":
            value: float = draw(st.one_of(st.sampled_from(EVIL), st.floats(width=32)))
            header[at : at + 4] = struct.pack("<f", max(min(value, 3e38), -3e38) if np.isfinite(value) else value)
        else:
            low, high = {
                "<h": (-(2**15), 2**15 - 1),
                "<B": (0, 255),
                "<i": (-(2**31), 2**31 - 1),
                "<I": (0, 2**32 - 1),
            }[kind]
            number = draw(
                st.one_of(st.sampled_from([0, 1, 2, 3, 8, 16, 64, high, max(low, -1)]), st.integers(low, high))
            )
            header[at : at + struct.calcsize(kind)] = struct.pack(kind, number)
    return bytes(header)


def text_fields(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, str]]:
    numbers = st.lists(st.one_of(st.sampled_from(EVIL), st.integers(-10, 100)), max_size=5)
    values = st.one_of(
        st.sampled_from(WORDS),
        numbers.map(lambda v: " ".join(map(str, v))),
        st.sampled_from(
            ["MET_DOUBLE", "MET_UCHAR_ARRAY", "gzip", "ascii", "bzip2", "raw", "float", "list domain", "mm"]
        ),
        st.text(st.characters(blacklist_characters="\n\r", max_codepoint=255), max_size=20),
    )
    return st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=5)


METAIMAGE = (
    "NDims", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "TransformMatrix", "Offset", "ElementSpacing",
    "DimSize", "ElementType", "ElementNumberOfChannels", "HeaderSize", "Kinds", "Seq_Frame0000_Timestamp",
    "ElementSize",
)  # fmt: skip
NRRD = (
    "type", "dimension", "sizes", "encoding", "kinds", "spacings", "space", "space directions", "space origin",
    "endian", "units", "space units", "byte skip", "line skip", "data file", "axis 2 index values", "axis 2 index unit",
    "content",
)  # fmt: skip
NUMBERS = (
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel",
    "PixelRepresentation", "PlanarConfiguration",
)  # fmt: skip
DECIMALS = ("FrameTime", "CineRate", "RecommendedDisplayFrameRate", "ActualFrameDuration")
SYNTAXES = (uid.RLELossless, uid.JPEGBaseline8Bit, uid.MPEG4HP41, uid.ExplicitVRBigEndian)
LISTS = ("FrameTimeVector", "PixelSpacing", "PixelAspectRatio")


@st.composite
def dicom_headers(draw: st.DrawFn) -> Callable[[Path], None]:
    """Writes a DICOM file with tags at random."""
    tags: dict[str, Any] = {}
    evil = st.sampled_from([0, 1, 2, 3, 8, 12, 16, 32, 48, 64, 255, 65535])
    for name in draw(st.lists(st.sampled_from(NUMBERS), max_size=3, unique=True)):
        tags[name] = draw(evil)
        if name == "NumberOfFrames":
            tags[name] = draw(st.sampled_from(["0", "1", "6", "-3", "1000000", "2147483647"]))
    for name in draw(st.lists(st.sampled_from(DECIMALS), max_size=2, unique=True)):
        tags[name] = draw(st.sampled_from(["", "0", "0.02", "20", "-5", "1e30", "1e-30", "33.3"]))
    for name in draw(st.lists(st.sampled_from(LISTS), max_size=2, unique=True)):
        tags[name] = draw(st.lists(st.sampled_from(["0", "1", "0.5", "20", "-1", "1000000"]), max_size=7))
    if draw(st.booleans()):
        places = st.integers(-5, 200)
        items = []
        for _ in range(draw(st.integers(0, 3))):
            kind, spatial, units = (draw(st.sampled_from([0, 1, 2, 3, 5, 10])) for _ in range(3))
            more = {"spatial": spatial, "units": units, "cm_y": draw(st.floats(allow_nan=True))}
            corners = [abs(draw(places)) for _ in range(4)]
            items.append(region(*corners, kind=kind, cm=draw(st.floats(allow_nan=True)), **more))
            for name in draw(st.lists(st.sampled_from([e.keyword for e in items[-1]]), max_size=2)):
                items[-1].pop(name, None)
        tags["SequenceOfUltrasoundRegions"] = items
    if draw(st.booleans()):
        tags["RWaveTimeVector"] = draw(st.lists(st.floats(width=32), max_size=3))
    if draw(st.booleans()):
        group = Dataset()
        if draw(st.booleans()):
            group.PlanePositionSequence = Sequence([])
        tags["PerFrameFunctionalGroupsSequence"] = [group]
    photometric = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL_422", ""]))
    missing = draw(st.lists(st.sampled_from([*NUMBERS, "PhotometricInterpretation", "PixelData"]), max_size=2))
    syntax = draw(
        st.sampled_from([None, uid.RLELossless, uid.JPEGBaseline8Bit, uid.MPEG4HP41, uid.ExplicitVRBigEndian])
    )
    preamble = draw(st.booleans())

    def write(path: Path) -> None:
        write_dicom(path, loop())
        dataset = pydicom.dcmread(path)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.PhotometricInterpretation = photometric
        for keyword in missing:
            if keyword in dataset:
                delattr(dataset, keyword)
        if syntax is not None:
            dataset.file_meta.TransferSyntaxUID = syntax
        content = pydicom.filebase.DicomBytesIO()
        pydicom.dcmwrite(content, dataset, implicit_vr=False, little_endian=syntax != uid.ExplicitVRBigEndian)
        path.write_bytes(content.getvalue())
        if preamble:
            path.write_bytes(path.read_bytes()[132:])

    return write


def huge() -> dict[str, tuple[str, bytes]]:
    """Small files whose headers claim 65,535² × 10⁶ frames."""

    def dicom(path: Path, syntax: uid.UID) -> None:
        write_dicom(path, loop(), syntax=syntax)
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 65535
        dataset.NumberOfFrames = 10**6
        dataset.save_as(path)

    nifti = nib.Nifti2Image(loop().transpose(2, 1, 0), np.eye(4))
    head = bytearray(nifti.to_bytes())
    head[24:48] = struct.pack("<3q", 65535, 65535, 10**6)
    sizes = "65535 65535 1000000"
    clip = bytearray(video_bytes(loop()))
    at = clip.index(b"avc1")
    clip[at + 28 : at + 32] = b"\xff\xff\xff\xff"
    packed = zlib.compress(bytes(1000))
    picture = bytearray(whole("gif")[1])
    picture[6:10] = b"\xff\xff\xff\xff"
    return {
        "native": written("c.dcm", lambda p: dicom(p, uid.ExplicitVRLittleEndian)),
        "rle": written("c.dcm", lambda p: dicom(p, uid.RLELossless)),
        "nii": ("c.nii", bytes(head)),
        "nii.gz": ("c.nii.gz", gzip.compress(bytes(head))),
        "mha": ("c.mha", metaimage_bytes(loop(), DimSize=sizes)),
        "mha zlib": (
            "c.mha",
            metaimage_bytes(loop(), packed, DimSize=sizes, CompressedData="True"),
        ),
        "nrrd": ("c.nrrd", nrrd_bytes(loop(), sizes=sizes)),
        "nrrd gzip": ("c.nrrd", nrrd_bytes(loop(), "gzip", sizes=sizes)),
        "gif": ("c.gif", bytes(picture)),
        "mp4": ("c.mp4", bytes(clip)),
    }
