"""Views of a known heart together: their average, what is missing, and the files of a study."""

import io
import json
import zipfile

import pydicom
import pytest
from pydicom import examples

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving import corrections as C
from cardiac_motion.serving.studies import combine_study, take_study
from cardiac_motion.serving.takeaway import today
from cardiac_motion.strain_pipeline.quality.checks import check
from cardiac_motion.strain_pipeline.report.dicom_sr import study_date
from cardiac_motion.ventricle.views import APICAL
from tests.bundles.running import ROOT
from tests.serving.known_case import case, heart, kept_folder  # noqa: F401


def members(case, views=tuple(APICAL), source="heart.mp4"):  # noqa: F811
    """The known heart, taken for each of the views."""
    return [
        {"case": str(case), "method": "dis", "edits": {"view": view}, "title": f"{view}.mp4", "source": str(source)}
        for view in views
    ]


def block(monkeypatch, view):
    """Let a check fail that stands for a view."""
    failed, measure_cached = check("apex towards the probe", 50), C.measure_cached
    measured = []

    def measure(cached, *words, **values):
        measured.append(cached.case.entry.assumed_view)
        return measure_cached(cached, *words, **values)

    monkeypatch.setattr(C, "measure_cached", measure)
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [failed] if measured[-1] == view else [])


def test_three_views_of_one_contraction_have_its_strain_and_its_ejection_fraction(case):  # noqa: F811
    found = combine_study({"members": members(case)})
    assert set(found["gls"]) == {"A4C", "A2C", "ALAX"} and found["missing"] == [] and found["blocked"] == {}
    assert found["gls_average"] == pytest.approx(-20, abs=0.8)
    assert found["ejection_fraction"] == pytest.approx(100 * (1 - 0.8**3), abs=3)
    volumes = found["biplane"]
    kept = volumes["end_systolic_volume_ml"] / volumes["end_diastolic_volume_ml"]
    assert kept == pytest.approx(0.8**3, abs=0.03) and "<svg" in found["bullseye"]
    json.dumps(found, allow_nan=False)


def test_a_view_that_fails_gives_no_number_and_there_is_no_average(case, monkeypatch):  # noqa: F811
    block(monkeypatch, "apical_2ch")
    found = combine_study({"members": members(case)})
    assert set(found["gls"]) == {"A4C", "ALAX"} and found["missing"] == ["A2C"]
    assert found["gls_average"] is None and found["biplane"] is None
    (words,) = found["blocked"]["apical_2ch.mp4"]
    assert "50° off the beam" in words


def test_of_no_view_there_is_no_bullseye(case, monkeypatch):  # noqa: F811
    block(monkeypatch, "apical_4ch")
    found = combine_study({"members": members(case, ["apical_4ch"])})
    assert found["bullseye"] == "" and found["gls"] == {} and found["missing"] == ["A4C", "A2C", "ALAX"]


def test_a_study_is_taken_away_as_a_folder_a_view_and_one_report(case, tmp_path_factory, monkeypatch):  # noqa: F811
    folder = tmp_path_factory.mktemp("study")
    (folder / "job").mkdir()
    (folder / "heart.mp4").write_bytes(b"heart")
    monkeypatch.chdir(ROOT)
    views = members(case, ["apical_4ch", "apical_2ch"], folder / "heart.mp4")
    views[1]["manual"] = ["View changed from 4ch to 2ch, by Ada."]
    place = {"folder": str(folder / "job"), "case": str(folder)}
    found = take_study({**place, "members": views, "title": "Monday", "revisions": [1]})
    assert found["name"].startswith("Monday_study_")
    with zipfile.ZipFile(folder / "take.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{found['name']}/{file}" for file in found["files"])
        read = lambda name: archive.read(f"{found['name']}/{name}").decode()  # noqa: E731
        study, page, about = json.loads(read("study.json")), read("report.html"), json.loads(read("about.json"))
    assert {f"{view}/{file}" for view in ("A4C", "A2C") for file in ("report.html", "strain.csv", "movie.mp4")} | {
        "report.html", "study.json", "about.json"} <= set(found["files"])  # fmt: skip
    assert study["gls"]["A4C"] == pytest.approx(-20, abs=0.8) and study["gls_average"] is None
    assert "Monday" in page and "by Ada" in page and str(folder) not in page
    assert about == {"revisions": [1], "title": "Monday"}


def test_dicom_files_of_a_study_are_taken_away_with_one_structured_report(case, tmp_path_factory, monkeypatch):  # noqa: F811
    pytest.importorskip("highdicom")
    folder, source = tmp_path_factory.mktemp("study"), examples.get_path("ybr_color")
    (folder / "job").mkdir()
    monkeypatch.chdir(ROOT)
    request = {"folder": str(folder / "job"), "case": str(folder), "title": "Monday"}
    found = take_study({**request, "members": members(case, ["apical_4ch", "apical_2ch"], source)})
    assert found["name"] == f"Monday_study_{study_date(source) or today()}"
    with zipfile.ZipFile(folder / "take.zip") as archive:
        report = pydicom.dcmread(io.BytesIO(archive.read(f"{found['name']}/sr.dcm")))
    assert report.StudyInstanceUID == pydicom.dcmread(source, stop_before_pixels=True).StudyInstanceUID


def test_no_files_of_a_study_without_views_or_with_one_that_fails(case, tmp_path, monkeypatch):  # noqa: F811
    request = {"folder": str(tmp_path), "case": str(tmp_path), "title": "Monday"}
    with pytest.raises(InputError, match="no view of this study has been measured"):
        take_study({**request, "members": []})
    block(monkeypatch, "apical_4ch")
    with pytest.raises(InputError, match=r"apical_4ch\.mp4: no report because a check failed"):
        take_study({**request, "members": members(case)})
    assert not (tmp_path / "take.zip").exists()
