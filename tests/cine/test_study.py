from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.study import cines_of, format_listing, match_view
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import T, cine_of, loop, maximal_difference, region, write_dicom


def write_frames(folder: Path, values: np.ndarray, series: str = "1.2.3", shuffled: bool = True, **tags: Any) -> None:
    """A DICOM file a frame, whose names are in another order than their instance numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(values):
        name = f"{(7 * t) % len(values) if shuffled else t:03d}.dcm"
        times = {key: value[t] if isinstance(value, list) else value for key, value in tags.items()}
        write_dicom(folder / name, frame[None], SeriesInstanceUID=series, InstanceNumber=t + 1, **times)


def test_a_folder_of_single_frames_is_one_cine(tmp_path: Path) -> None:
    values = loop(10)
    clock = [f"1203{59.9 + 0.02 * t:09.6f}" if t < 5 else f"1204{0.02 * (t - 5):09.6f}" for t in range(10)]
    write_frames(tmp_path, values, AcquisitionTime=clock, SequenceOfUltrasoundRegions=[[region()]] * 10)
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, values / 255.0) < 1e-6 and cine.meta["spacing"] == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(10) * 0.02, atol=1e-6)
    assert "10 files of one frame each" in cine.meta["notes"][0]


def test_single_frames_without_clock_times_take_the_header_s_frame_time(tmp_path: Path) -> None:
    write_frames(tmp_path, loop(10), FrameTime=30)
    np.testing.assert_allclose(read_cine(tmp_path).meta["frame_times"], np.arange(10) * 0.03)


def test_single_slices_are_a_volume(tmp_path: Path) -> None:
    write_frames(tmp_path, loop(10), ImagePositionPatient=[[0, 0, z] for z in range(10)])
    with pytest.raises(InputError, match="10 slices at different positions"):
        read_cine(tmp_path)


def study(folder: Path) -> Path:
    """A study: two cines, a series of single frames, a still, a report, and the results of an earlier run."""
    (folder / "S1").mkdir(parents=True)
    write_dicom(
        folder / "S1/IM_0001", loop(), SeriesNumber=1, SeriesDescription="Echo", ViewName="A4C", InstanceNumber=1,
        SequenceOfUltrasoundRegions=[region()], SeriesInstanceUID="1.1",
    )  # fmt: skip
    write_dicom(folder / "S1/IM_0002.dcm", loop(8), SeriesNumber=1, InstanceNumber=2, SeriesInstanceUID="1.1")
    write_dicom(folder / "S1/still.dcm", loop(1), SeriesNumber=2, SeriesInstanceUID="1.2")
    write_frames(folder / "S3", loop(9), series="1.3", SeriesNumber=3)
    report = pydicom.dcmread(folder / "S1/still.dcm")
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(report, keyword)
    report.save_as(folder / "S1/report.dcm")
    (folder / "readme.txt").write_text("nothing", encoding="utf-8")
    (folder / "results").mkdir()
    (folder / "results/summary.json").write_text("{}", encoding="utf-8")
    write_cine(folder / "results/film.mp4", cine_of(loop()))
    return folder


def test_the_cines_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = cines_of(study(tmp_path))
    assert [(c.name, c.frames, c.view, c.calibrated) for c in found] == [
        ("S1_IM_0001", 6, "A4C", True), ("S1_IM_0002", 8, None, False), ("S3", 9, None, False),
    ]  # fmt: skip
    assert format_listing(found).splitlines()[0].split() == [
        "S1_IM_0001",
        *"series 1 Echo 6 frames A4C calibrated".split(),
    ]
    cases = CineCases(str(tmp_path))
    assert "3 cines" in capsys.readouterr().out
    assert [cases[i]["cine"].shape[1] for i in range(3)] == [6, 8, 9]
    assert [entry["case"] for entry in cases.entries] == ["S1_IM_0001", "S1_IM_0002", "S3"]
    with pytest.raises(InputError, match=r"3 cines \(S1_IM_0001, S1_IM_0002, S3\); name one"):
        read_cine(tmp_path)


def test_a_dicomdir(tmp_path: Path) -> None:
    study(tmp_path / "study")
    files = FileSet()
    for number, path in enumerate(sorted((tmp_path / "study").rglob("*"))):
        if path.is_file() and path.suffix in ("", ".dcm") and path.name != "report.dcm":
            dataset = pydicom.dcmread(path)
            dataset.PatientID = dataset.PatientName = "p"
            dataset.StudyInstanceUID, dataset.StudyID = "1.9", "1"
            dataset.StudyDate, dataset.StudyTime = "20240101", "000000"
            dataset.SeriesNumber = dataset.get("SeriesNumber", 1)
            dataset.InstanceNumber = dataset.get("InstanceNumber", number)
            files.add(dataset)
    files.write(tmp_path / "disc")
    found = cines_of(tmp_path / "disc/DICOMDIR")
    assert sorted(c.frames for c in found) == [6, 8, 9]
    assert len(CineCases(str(tmp_path / "disc/DICOMDIR"))) == len(CineCases(str(tmp_path / "disc"))) == 3
    for path in (tmp_path / "disc").rglob("*"):
        if path.is_file() and path.name != "DICOMDIR":
            path.unlink()
    with pytest.raises(InputError, match=r"DICOMDIR: no cine.*files are missing"):
        cines_of(tmp_path / "disc/DICOMDIR")


def test_a_dicomdir_that_leads_outside_its_folder(tmp_path: Path) -> None:
    write_dicom(tmp_path / "outside.dcm", loop())
    dataset = pydicom.dcmread(tmp_path / "outside.dcm")
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "outside.dcm"]
    dataset.DirectoryRecordSequence = [record]
    (tmp_path / "disc").mkdir()
    dataset.save_as(tmp_path / "disc/DICOMDIR")
    with pytest.raises(InputError, match="outside its folder"):
        cines_of(tmp_path / "disc/DICOMDIR")


def test_a_folder_of_videos_and_of_folders_of_images(tmp_path: Path) -> None:
    write_cine(tmp_path / "b.mp4", cine_of(loop()))
    write_cine(tmp_path / "a.nii.gz", cine_of(loop()))
    write_cine(tmp_path / "a_mask.nii.gz", cine_of(loop()))
    (tmp_path / "c").mkdir()
    for t, frame in enumerate(loop()):
        imageio.imwrite(tmp_path / "c" / f"{t}.png", frame)
    cases = CineCases(str(tmp_path))
    assert [entry["case"] for entry in cases.entries] == ["a", "b", "c"]
    assert [cases[i]["cine"].shape[1] for i in range(3)] == [T] * 3


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("A4C", "apical_4ch"), ("Apical four chamber", "apical_4ch"), ("AP4 zoom", "apical_4ch"), ("A2C", "apical_2ch"),
        ("Apical long axis", "apical_long_axis"), ("PLAX", "parasternal_long_axis"), ("Vascular", None), (None, None),
    ],
)  # fmt: skip
def test_views_in_the_words_of_headers(words: str | None, view: str | None) -> None:
    assert match_view(words) == view
