"""Damaged and invented files of every format: a cine or one line that names the file, within bounded time and memory.

A few hundred inputs are tried by default. ``-m slow`` tries ``FUZZ_INPUTS`` a kind of file, 1,500 by default.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.fuzzed import KINDS, METAIMAGE, NRRD, damages, dicom_headers, huge, nifti_headers, text_fields, whole
from tests.cine.made import (
    loop,
    metaimage_bytes,
    nrrd_bytes,
)

MOST_MEMORY = 1 << 30  # bytes more than before
LONGEST = 60  # s for one file: a hang, not a slow machine
COUNT = int(os.environ.get("FUZZ_INPUTS", "1500"))
FEW = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)  # fmt: skip
MANY = settings(FEW, max_examples=COUNT)


def check(name: str, content: bytes) -> None:
    """Reading ends in a cine or in one line, in time and in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder, limited_time():
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            cine = read_cine(path)
        except InputError as error:
            message = str(error)
            assert message.startswith(folder) and "\n" not in message and len(message) < 1000, message
        else:
            assert isinstance(cine, MetaTensor) and cine.ndim == 4 and 0 <= cine.min() and cine.max() <= 1
            times, spacing = cine.meta["frame_times"], cine.meta["spacing"]
            assert times is None or (len(times) == cine.shape[1] and (np.diff(times) > 0).all())
            assert spacing is None or all(0 < step < 1000 for step in spacing)
            assert 0 < cine.meta["aspect"] < 1000
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST_MEMORY, f"{grown / 1e9:.1f} GB more"


@contextmanager
def limited_time() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"still reading after {LONGEST} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def damaged(kind: str, how: settings) -> None:
    name, content = whole(kind)

    @how
    @given(damages())
    def run(damage: Callable[[bytes], bytes]) -> None:
        check(name, damage(content))

    run()


def invented(kind: str, how: settings) -> None:
    @how
    @given(st.data())
    def run(data: st.DataObject) -> None:
        if kind == "nifti":
            check("c.nii", data.draw(nifti_headers()))
        elif kind == "metaimage":
            check("c.mha", metaimage_bytes(loop(), **data.draw(text_fields(METAIMAGE))))
        elif kind == "nrrd":
            check("c.nrrd", nrrd_bytes(loop(), **data.draw(text_fields(NRRD))))
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "c.dcm"
                try:
                    with _no_warnings():
                        data.draw(dicom_headers())(path)
                except (ValueError, TypeError, AttributeError, OverflowError, struct.error, KeyError, OSError):
                    return  # pydicom itself can't write this
                content = path.read_bytes()
            check("c.dcm", content)

    run()


@contextmanager
def _no_warnings() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


HEADERS = ("dicom", "nifti", "metaimage", "nrrd")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind: str) -> None:
    damaged(kind, FEW)


@pytest.mark.parametrize("kind", HEADERS)
def test_a_few_invented_headers(kind: str) -> None:
    invented(kind, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind: str) -> None:
    damaged(kind, MANY)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADERS)
def test_many_invented_headers(kind: str) -> None:
    invented(kind, MANY)


@pytest.mark.parametrize(
    "kind", ["native", "rle", "nii", "nii.gz", "mha", "mha zlib", "nrrd", "nrrd gzip", "gif", "mp4"]
)
def test_a_header_that_claims_a_million_frames_allocates_nothing(kind: str, tmp_path: Path) -> None:
    name, content = huge()[kind]
    (tmp_path / name).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if kind != "mp4":  # whose frames are of the size that the stream says
        with pytest.raises(InputError):
            read_cine(tmp_path / name)
    check(name, content)
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 1 << 28
