from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.study import format_listing, list_cines
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import PROGRAM
from tests.cine.made import (
    T,
    cine_of,
    loop,
    maximal_difference,
    metaimage_bytes,
    region,
    video_bytes,
    write_dicom,
)


def write_frames(folder: Path, values: np.ndarray, series: str = "1.2.3", shuffled: bool = True, **tags: Any) -> None:
    """A DICOM file a frame, whose names are in another order than their instance numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(values):
        name = f"{(7 * t) % len(values) if shuffled else t:03d}.dcm"
        times = {key: value[t] if isinstance(value, list) else value for key, value in tags.items()}
        times = {key: value for key, value in times.items() if value is not None}
        write_dicom(folder / name, frame[None], SeriesInstanceUID=series, InstanceNumber=t + 1, **times)


def test_a_folder_of_single_frames_is_one_cine(tmp_path: Path) -> None:
    values = loop(10)
    clock = [f"1203{59.9 + 0.02 * t:09.6f}" if t < 5 else f"1204{0.02 * (t - 5):09.6f}" for t in range(10)]
    write_frames(tmp_path, values, AcquisitionTime=clock, SequenceOfUltrasoundRegions=[[region()]] * 10)
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, values / 255.0) < 1e-6 and cine.meta["spacing"] == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(10) * 0.02, atol=1e-6)
    assert "10 single-frame files" in cine.meta["notes"][0]


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
    summary = {"program": PROGRAM, "case": "results", "method": "farneback"}
    (folder / "results/summary.json").write_text(json.dumps(summary), encoding="utf-8")
    write_cine(folder / "results/movie.mp4", cine_of(loop()))
    return folder


def test_the_cines_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list_cines(study(tmp_path))
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
    with pytest.raises(InputError, match=r"3 cines \(S1_IM_0001, S1_IM_0002, S3\); give one of them"):
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
    found = list_cines(tmp_path / "disc/DICOMDIR")
    assert sorted(c.frames for c in found) == [6, 8, 9]
    assert len(CineCases(str(tmp_path / "disc/DICOMDIR"))) == len(CineCases(str(tmp_path / "disc"))) == 3
    for path in (tmp_path / "disc").rglob("*"):
        if path.is_file() and path.name != "DICOMDIR":
            path.unlink()
    with pytest.raises(InputError, match=r"DICOMDIR: no cine.*files are missing"):
        list_cines(tmp_path / "disc/DICOMDIR")


def test_a_dicomdir_that_leads_outside_its_folder(tmp_path: Path) -> None:
    write_dicom(tmp_path / "outside.dcm", loop())
    dataset = pydicom.dcmread(tmp_path / "outside.dcm")
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "outside.dcm"]
    dataset.DirectoryRecordSequence = [record]
    (tmp_path / "disc").mkdir()
    dataset.save_as(tmp_path / "disc/DICOMDIR")
    with pytest.raises(InputError, match="outside its folder"):
        list_cines(tmp_path / "disc/DICOMDIR")


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


def avi(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(video_bytes(values, "mpeg4", "avi"))


def still(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, values)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("dicom", [True, False])
def test_cines_win_over_the_thumbnails_of_a_scanner(tmp_path: Path, beside: bool, dicom: bool) -> None:
    for i in range(3):
        values = np.roll(loop(), 9 * i, 2)
        if dicom:
            write_dicom(tmp_path / f"Image{i:03d}.dcm", values)
        else:
            avi(tmp_path / f"Image{i:03d}.avi", values)
        still(tmp_path / ("" if beside else "thumbs") / f"Image{i:03d}.jpg", values[0])
    assert [entry["case"] for entry in CineCases(str(tmp_path)).entries] == [f"Image{i:03d}" for i in range(3)]
    with pytest.raises(InputError, match="3 cines"):
        read_cine(tmp_path)


def test_a_disc_with_a_logo(tmp_path: Path) -> None:
    for i, name in enumerate(("IM_0000", "IM_0001.DIC", "IM_0002.img", "0003.123", "IM_0004.IMA")):
        (tmp_path / "DICOM").mkdir(exist_ok=True)
        write_dicom(tmp_path / "DICOM" / name, np.roll(loop(), i, 2))
    still(tmp_path / "logo.jpg", np.full((40, 90, 3), 90, np.uint8))
    still(tmp_path / "banner.png", np.full((40, 90, 3), 80, np.uint8))
    (tmp_path / "viewer.exe").write_bytes(b"MZ" + bytes(500))
    assert len(list_cines(tmp_path)) == 5


def test_pictures_of_a_report_are_no_cine(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    avi(tmp_path / "clip.avi", loop())
    for name in ("page_1", "page_2", "page_3"):
        still(tmp_path / "report" / f"{name}.png", rng.integers(0, 255, (48, 64), dtype=np.uint8))
    assert [cine.name for cine in list_cines(tmp_path)] == ["clip"]


def test_files_without_a_suffix_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(video_bytes(loop()))
    write_cine(tmp_path / "a.nii", cine_of(loop()))
    (tmp_path / "a.nii").rename(tmp_path / "array")
    assert [cine.name for cine in list_cines(tmp_path)] == ["array", "clip"]
    assert read_cine(tmp_path / "clip").shape[1] == T


def test_stills_at_end_diastole_and_end_systole_are_no_cines(tmp_path: Path) -> None:
    for suffix in (".nii.gz", ".mha"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        for name, values in (("half_sequence", loop()), ("ED", loop()[:1]), ("ES", loop()[-1:])):
            for end in ("", "_gt"):
                path = folder / f"patient0001_4CH_{name}{end}{suffix}"
                if suffix == ".mha":
                    array = values[0] if len(values) == 1 else values
                    path.write_bytes(
                        metaimage_bytes(array, ElementSpacing="0.3 0.3 1.5"[: 8 if array.ndim == 2 else 11])
                    )
                else:
                    array = values[0].T if len(values) == 1 else values.transpose(2, 1, 0)
                    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        assert [cine.name for cine in list_cines(folder)] == ["patient0001_4CH_half_sequence"]


def test_a_summary_of_another_program_hides_nothing(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", loop())
    for content in ('{"patients": 1}', "[]", "no json", json.dumps({"program": PROGRAM, "cases": {}, "failed": {}})):
        (tmp_path / "summary.json").write_text(content, encoding="utf-8")
        assert [cine.name for cine in list_cines(tmp_path)] == ["a"]


@pytest.mark.parametrize("clock", ["AcquisitionDateTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"])
@pytest.mark.parametrize("cines", [0, 2])
def test_stills_minutes_apart_are_no_cine(tmp_path: Path, clock: str, cines: int) -> None:
    day = "20240101" if clock.endswith("DateTime") else ""
    write_frames(tmp_path, loop(10), **{clock: [f"{day}12{10 * (t % 6):02d}{t:02d}" for t in range(10)]})
    for i in range(cines):
        write_dicom(tmp_path / f"cine{i}.dcm", loop(), SeriesInstanceUID="1.2.3", InstanceNumber=11 + i)
    if cines:
        assert [cine.name for cine in list_cines(tmp_path)] == ["cine0", "cine1"]
        return
    with pytest.raises(InputError, match="10 single-frame DICOM files that are not consecutive"):
        read_cine(tmp_path)


def test_stills_whose_numbers_are_far_from_each_other_are_no_cine(tmp_path: Path) -> None:
    for number in (1, 2, 30, 31, 60, 61, 90, 91, 120, 121):
        write_dicom(
            tmp_path / f"{number}.dcm", np.roll(loop(1), number, 1), SeriesInstanceUID="1", InstanceNumber=number
        )
    write_dicom(tmp_path / "cine.dcm", loop())
    assert [cine.name for cine in list_cines(tmp_path)] == ["cine"]


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"PixelSpacing": [[0.5, 0.5]] * 5 + [[0.3, 0.3]] * 5}, "its spacing is 0.3 × 0.3 mm/px, that of .* 0.5"),
        ({"PixelSpacing": [[0.5, 0.5]] * 9 + [None]}, "its spacing is unknown"),
        ({"PixelAspectRatio": [["1", "1"]] * 5 + [["2", "1"]] * 5}, "its spacing is unknown"),
        ({"SequenceOfUltrasoundRegions": [[region()]] * 5 + [[region(cm=0.03)]] * 5}, "its spacing is 0.3"),
        ({"SequenceOfUltrasoundRegions": [[region()]] * 5 + [[region(y1=40)]] * 5}, "its ultrasound regions"),
    ],
)  # fmt: skip
def test_files_of_another_geometry_are_no_one_cine(tmp_path: Path, tags: dict[str, Any], match: str) -> None:
    write_frames(tmp_path, loop(10), **tags)
    with pytest.raises(InputError, match=match):
        read_cine(tmp_path)


def test_frame_times_that_differ_between_files_are_not_used(tmp_path: Path) -> None:
    write_frames(tmp_path, loop(10), FrameTime=["20"] * 5 + ["30"] * 5)
    cine = read_cine(tmp_path)
    assert cine.meta["frame_times"] is None and any("FrameTime differs" in note for note in cine.meta["notes"])


def test_files_of_one_cine_have_one_scale(tmp_path: Path) -> None:
    values = loop(10).astype(np.uint16) * 16
    values[3] //= 8
    write_frames(tmp_path, values)
    assert maximal_difference(read_cine(tmp_path), values / 4095) < 1e-6


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    for name in (b"M\xfcller.dcm", b"ok.dcm"):
        write_dicom(tmp_path / os.fsdecode(name), loop())
    cases = CineCases(str(tmp_path))
    assert [entry["case"] for entry in cases.entries] == ["M\ufffdller", "ok"] and cases[0]["cine"].shape[1] == T


@pytest.mark.parametrize("given", ["", " ", [], [""]])
def test_an_empty_input_is_not_the_current_folder(given: Any) -> None:
    with pytest.raises(InputError, match="empty"):
        CineCases(given)
    with pytest.raises(InputError):
        read_cine(given)
