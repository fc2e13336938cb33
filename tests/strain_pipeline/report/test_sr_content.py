"""The structured report of a view whose numbers are written by hand: codes, values, units and what is left out."""

import numpy as np
import pydicom
import pytest
from pydicom import examples

from cardiac_motion.strain_pipeline.strain_case import StudyView
from cardiac_motion.ventricle.views import APICAL

pytest.importorskip("highdicom")

from cardiac_motion.strain_pipeline.report import sr_content as R

MEANS = {
    "gls": -18.456, "gls_peak_systolic": -18.5, "gls_peak": -19.0, "mechanical_dispersion_ms": 41.0,
    "end_diastolic_volume_ml": 120.0, "end_systolic_volume_ml": 50.0, "ejection_fraction": 58.3,
}  # fmt: skip
ROW = {
    "name": "basal inferoseptal",
    "end_systolic": -15.0,
    "peak": -16.0,
    "time_to_peak_ms": None,
    "systolic_rate": -1.1,
}


def view(name="apical_4ch", layer="endocardium", source="a.dcm", segments=(ROW,), **means):
    return StudyView(source, APICAL[name], layer, {**MEANS, **means}, segments, (), [np.zeros((2, 3, 2))], (0.5, 0.5))


def values(items):
    """Meaning of a measurement's concept to value and unit."""
    measured = [(i.ConceptNameCodeSequence[0].CodeMeaning, i.MeasuredValueSequence[0]) for i in items]
    return {name: (float(v.NumericValue), v.MeasurementUnitsCodeSequence[0].CodeValue) for name, v in measured}


def test_numbers_of_a_view():
    items = R.global_measurements(view())
    found = values(items)
    assert len(found) == 7 and sorted(found.values()) == sorted([
        (-18.46, "%"), (-18.5, "%"), (-19.0, "%"), (41.0, "ms"), (120.0, "ml"), (50.0, "ml"), (58.3, "%"),
    ])  # fmt: skip
    assert [name for name in found if "GLS 4CH (Endocardial)" in name] == list(found)[:3]
    labels = [i.ContentSequence[-1].TextValue for i in items]
    assert labels == [
        "GLS A4C end-systolic", "GLS A4C peak-systolic", "GLS A4C peak", "Dispersion A4C", "LV EDV A4C", "LV ESV A4C",
        "EF A4C",
    ]  # fmt: skip


def test_what_is_not_known_or_has_no_code_is_left_out():
    assert len(R.global_measurements(view(gls=None, ejection_fraction=None))) == 5
    assert len(R.global_measurements(view(layer="mid-wall"))) == 4, "only the endocardium's GLS has a code"
    assert len(R.global_measurements(view("apical_long_axis"))) == 4, "no volume of one plane there"
    two = " ".join(values(R.global_measurements(view("apical_2ch"))))
    assert "2" in two and "4" not in two


def test_segments_have_a_site_and_a_code_of_their_own():
    items = R.segment_measurements(view())
    assert [i.ConceptNameCodeSequence[0].CodeValue for i in items] == ["ES-B-IS", "PK-B-IS", "SR-B-IS"]
    assert [float(i.MeasuredValueSequence[0].NumericValue) for i in items] == [-15.0, -16.0, -1.1]
    parts = {p.ConceptNameCodeSequence[0].CodeMeaning: p for p in items[0].ContentSequence}
    codes = {name: p.ConceptCodeSequence[0].CodeMeaning for name, p in parts.items() if p.ValueType == "CODE"}
    assert len(codes) == 7 and "asal" in codes["Finding Site"] and "nferoseptal" in codes["Finding Site"]
    assert codes["Image View"] == "Apical four chamber" and "ndocardial" in codes["Measurement Method"]
    assert items[0].ContentSequence[-1].TextValue == "end systolic basal inferoseptal"


@pytest.mark.parametrize("name", APICAL)
def test_every_segment_of_every_view_has_a_site(name):
    rows = [{**ROW, "name": segment} for segment in APICAL[name].segments()]
    items = R.segment_measurements(view(name, segments=rows))
    assert len(items) == 18
    sites = {i.ContentSequence[1].ConceptCodeSequence[0].CodeValue for i in items}
    assert len(sites) == 6


def test_a_source_gets_the_attributes_of_a_study():
    source = pydicom.Dataset()
    source.PatientID = "7"
    R.complete(source)
    assert source.PatientID == "7" and source.PatientName == "" and source.StudyDate == ""
    first = source.StudyInstanceUID
    R.complete(source)
    assert source.StudyInstanceUID == first != source.SeriesInstanceUID


def test_the_whole_report_of_two_views(tmp_path):
    paths = []
    for k in range(2):
        source = examples.palette_color
        source.SOPInstanceUID, source.StudyInstanceUID = f"1.2.3.{k}", "1.2.4"
        source.save_as(tmp_path / f"{k}.dcm")
        paths.append(str(tmp_path / f"{k}.dcm"))
    report = R.strain_report([view(source=paths[0]), view("apical_2ch", source=paths[1])], -17.5)
    report.save_as(tmp_path / "sr.dcm")
    read = pydicom.dcmread(tmp_path / "sr.dcm")
    assert read.Modality == "SR" and read.StudyInstanceUID == "1.2.4"
    assert (read.CompletionFlag, read.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert read.ContentTemplateSequence[0].TemplateIdentifier == "5300"
    known, segments = (read.ContentSequence[k].ContentSequence for k in (3, 4))
    assert len(known) == 7 + 7 + 1 and len(segments) == 3 + 3
    sources = [i.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in list(known)[:14]]
    assert sources == ["1.2.3.0"] * 7 + ["1.2.3.1"] * 7
    assert float(known[-1].MeasuredValueSequence[0].NumericValue) == -17.5
    assert read.ContentSequence[-1].TextValue == R.CAUTION
