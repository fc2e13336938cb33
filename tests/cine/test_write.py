from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    T,
    cine_of,
    loop,
)


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


def test_the_bar_is_named(tmp_path: Path, bar_names: list[str]) -> None:
    write_cine(tmp_path / "c.nii.gz", cine_of(loop(4)))
    assert bar_names == ["writing a cine"] and (tmp_path / "c.nii.gz").read_bytes()[:2] == b"\x1f\x8b", "gzip"


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

    monkeypatch.setattr("cardiac_motion.cine.write._write_nifti", fail)
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
