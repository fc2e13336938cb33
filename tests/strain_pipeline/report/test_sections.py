"""Sections of a report: each number stands where it belongs."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.strain_pipeline.measures.followup import Change, Earlier
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.measures.repeats import RepeatsResult, SimulatedRepeat
from cardiac_motion.strain_pipeline.quality.checks import Check, check
from cardiac_motion.strain_pipeline.quality.view import CineView
from cardiac_motion.strain_pipeline.report import sections as S
from cardiac_motion.strain_pipeline.report.html import SEGMENT_COLOURS
from cardiac_motion.ventricle.beats import Beat
from tests.strain_pipeline.known import POINTS, WALL, cine, strain_case, tracked_beat


def rows(html):
    """Text of the cells of a table's rows, its head first."""
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S)
    return [
        [re.sub("<[^>]*>", "", c).strip() for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r, re.S)] for r in found
    ]


def test_the_measured_line_is_drawn_in_six_pieces_that_meet():
    parts, colours = S.colour_lines(WALL, "endocardium")
    assert len(parts) == len(colours) == 8 and colours == [*S.OUTLINE, *SEGMENT_COLOURS]
    np.testing.assert_array_equal(parts[0], WALL[1])
    np.testing.assert_array_equal(parts[1], WALL[2])
    for a, b in pairwise(parts[2:]):
        np.testing.assert_array_equal(a[-1], b[0])
    np.testing.assert_array_equal(np.concatenate([parts[2], *(p[1:] for p in parts[3:])]), WALL[0])
    np.testing.assert_array_equal(S.colour_lines(WALL)[0][0], WALL[0])


@pytest.mark.parametrize("level, white", [(0.5, 255), (0.1, 85), (1.0, 255)])
def test_a_dark_cine_is_brightened_and_never_by_more_than_its_share(level, white):
    case = strain_case(found=cine(level=level)).case
    grey = S.grey_values(case)
    assert grey.dtype == np.uint8 and grey[0, 60, 65] == white and grey[0, 0, 0] == 0


def test_names_beside_the_sector_are_covered():
    found = cine()
    found[0, :, 2:6, 2:30] = 0.5
    case = strain_case(found=found).case
    assert S.grey_values(case)[0, 4, 10] == 255
    covered = S.grey_values(case, covered=True)
    assert covered[0, 60, 65] == 255 and (covered[:, 110:, :10] == 0).all()


def test_marks_of_beats():
    beats = strain_case([tracked_beat(), tracked_beat(Beat(5, 6, 7, False), [1, 0.9, 0.95])], found=cine(8, times=None))
    assert S.marks_of(beats.measured.beats) == {
        0: "end-diastole 1", 3: "end-systole 1", 5: "end-diastole 2", 6: "end-systole 2",
    }  # fmt: skip


def test_facts_of_a_whole_beat():
    said = S.list_facts(strain_case())
    assert "Frames: ED 0, ES 3." in said[0] and said[1] == "10 frames/s, heart rate 120 beats/min."
    assert said[2] == "Linear drift correction: 0.0 percentage points at the end of the beat."
    assert len(said) == 3, "without deviations there is no smallest change"


def test_facts_that_a_cine_does_not_tell():
    beat = tracked_beat(Beat(0, 3, 5, False))
    said = S.list_facts(strain_case([beat], found=cine(times=None)))
    assert "ES 3 (not whole)" in said[0] and said[1] == "Frame rate and heart rate are not known."
    assert said[2] == "Drift is not known: curves are as they were tracked."
    drifting = tracked_beat(share=[1.0, 0.95, 0.85, 0.8, 0.85, 0.9])
    said = S.list_facts(strain_case([drifting], measures=StrainMeasures(drift_correction=False)))
    assert said[2] == "Curves are not corrected for drift: −10.0 points at the end of the beat."
    doubted = S.list_facts(strain_case(found=cine(frame_time_source="playback")))
    assert doubted[1] == "10 frames/s, heart rate 120 beats/min (by the playback rate)."


def test_the_smallest_change_is_said():
    beat = tracked_beat(deviation=np.zeros((6, 3, POINTS)), line_sd=np.zeros((3, POINTS)))
    study = strain_case([beat])
    found = S.detectable_changes(study.measured)
    assert set(found) == {"gls", "long_axis_strain", "ejection_fraction"}
    # two measurements whose methods are off by 2.8 points each, and end-systole by a frame
    assert found["gls"] > 1.645 * 2**0.5 * 2.8
    assert S.list_facts(study)[3].startswith("Smallest detectable change of GLS: ")


def test_tables_of_numbers():
    study = strain_case()
    table = {row[0]: row[1:] for row in rows(S.number_table(study.measured))[1:]}
    assert table["GLS, end-systolic, %"][0] == "−20.0" and table["MAPSE, mm"][0] == "8.0"
    assert table["Ejection fraction (discs, one plane), %"][0] == "47"
    assert table["Heart rate, beats/min"][0] == "120" and table["Time to peak, ms"][0] == "300"
    two = strain_case([tracked_beat(), tracked_beat(share=[1.0, 0.97, 0.92, 0.9, 0.95, 1.0])]).measured
    head, first, *_ = rows(S.number_table(two))
    assert head[-2:] == ["beat 1", "beat 2"] and [first[1], *first[-2:]] == ["−15.0", "−20.0", "−10.0"]
    doubted = rows(S.number_table(replace(study.measured, times_doubted=True)))
    assert [r[0].endswith(S.DOUBT) for r in doubted[1:]] == [unit in S.TIMED for _, _, unit, _ in S.NUMBERS]


def test_tables_of_segments():
    lncc2 = np.full(POINTS, 0.8)
    lncc2[:15], lncc2[45:55] = 0.1, 0.4
    study = strain_case([tracked_beat(lncc2=lncc2)])
    head, *body = rows(S.segment_table(S.mean_segments(study.measured.beats), "endocardium"))
    assert head[0] == "Segment, endocardium" and len(body) == 6
    assert body[0][0].endswith("(left out)") and body[0][1] == "left out" and body[0][2] == "–"
    assert {row[1] for row in body[1:]} == {"good"} and {row[2] for row in body[1:]} == {"−20.0"}
    assert body[3][4] == "−20.0" and body[3][6] == "300"


@pytest.mark.parametrize(
    "row, grade",
    [
        ({"rejected": "outside", "lncc2": 0.9}, "left out"),
        ({"rejected": None, "lncc2": 0.5}, "good"),
        ({"rejected": None, "lncc2": 0.49}, "fair"),
        ({"rejected": None, "lncc2": None}, "fair"),
    ],
)
def test_grades(row, grade):
    assert S.grade_of(row) == grade


def test_tables_of_checks():
    passed, none = check("systole", 0.5, beat=3), Check("view", None, 0.5, None, "probability", "the case")
    head, first, second, third = rows(S.check_table([passed, check("systole", 0.61), none]))
    assert head[0] == "Check" and first[:2] == ["systole, beat from frame 3", "0.5"]
    assert first[3:5] == ["from 0.25 to 0.55", "passed"] and second[4] == "FAILED" and third[1] == "–"


def test_notes():
    study = strain_case(found=cine(spacing=None, notes=["A note."]), entry=CineEntry("k", "k.mp4", contour="c.json"))
    said = S.list_notes(study)
    assert said == [
        "A note.",
        "View found: apical 4ch 0.90, other 0.08.",
        "The pixels' spacing is unknown: nothing is given in mm or ml.",
    ]
    given = replace(study, view=CineView(study.view.view, study.view.probabilities, True))
    assert S.list_notes(given)[1].startswith("View given by the user; the classifier says: apical 4ch 0.90")


def test_a_plot_of_a_beat():
    beat = strain_case().measured.beats[0]
    plot = S.plot_of(beat, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), "beat 1")
    assert plot.startswith("<h3>Beat 1</h3>") and "ms after end-diastole" in plot and "GLS −20.0 %" in plot
    assert "<h3>" not in S.plot_of(beat, None) and ">frame<" in S.plot_of(beat, None)
    out = {**beat, "curves": {}, "segments": [{**row, "rejected": "x"} for row in beat["segments"]]}
    assert S.plot_of(out, None) == ""


def test_changes_since_an_earlier_study():
    assert S.change_sections(strain_case()) == []
    earlier = Earlier("o/summary.json", "o.dcm", "endocardium", "DIS", True, {}, {}, {})
    changes = (
        Change("gls", -15.0, -20.0, (-9.0, -1.0)),
        Change("long_axis_strain", -10.0, -11.0, (-4.0, 2.0)),
        Change("apical septal", -10.0, -12.0, None),
    )
    (html,) = S.change_sections(strain_case(earlier=earlier, changes=changes, options={"motion": "NCC flow"}))
    assert [row[0] for row in rows(html)[1:]] == ["GLS", "Long-axis strain", "apical septal"]
    assert rows(html)[1][1:4] == ["−15.0", "−20.0", "−5.0"]
    assert [row[-1] for row in rows(html)[1:]] == [
        "more than measuring twice would show", "within the error of measuring", "unknown",
    ]  # fmt: skip
    assert "measured by force" in html and "that of DIS, this one&#39;s of NCC flow" in html.replace("'", "&#39;")
    (same,) = S.change_sections(strain_case(earlier=earlier, changes=changes, options={"motion": "DIS"}))
    assert "methods differ" not in same


def test_repeats():
    assert S.repeat_sections(strain_case()) == []
    repeats = [
        SimulatedRepeat(-20.0, -17.0, 0.9),
        SimulatedRepeat(-18.0, -15.0, 0.7),
        SimulatedRepeat(-22.0, None, 0.8),
    ]
    (html,) = S.repeat_sections(strain_case(repeats=RepeatsResult(-16.0, repeats, "still tissue", 0.1, 0.85)))
    assert rows(html)[1:] == [
        ["repeat 1", "−20.0", "−17.0", "3.0"], ["repeat 2", "−18.0", "−15.0", "3.0"], ["repeat 3", "−22.0", "–", "–"],
    ]  # fmt: skip
    assert "−19.0" in html and "plain −16.0 %" in html and "0.85 in the patient, 0.80 in the repeats" in html


def test_how_it_was_measured():
    html = S.provenance({"view": "ours, of public cines"}, {"motion": "NCC flow", "roi_margin": None})
    assert "view: ours, of public cines" in html and "Options: motion NCC flow." in html and S.version() in html
    assert "Options" not in S.provenance({})


def test_all_sections_of_a_cine():
    study = strain_case()
    found = S.case_sections(study, S.grey_values(study.case))
    headings = [re.search(r"<h2[^>]*>(.*?)</h2>", html)[1] for html in found]
    assert headings[0] == "A4C · known.nii.gz"
    assert [h.split(" · ")[1] for h in headings[1:]] == ["cine", "segments", "numbers", "notes and checks"]
    first = found[0]
    assert "−20.0" in first and "GLS, end-systolic, endocardium" in first and "A4C · warnings" in first
    assert "Nothing: measured automatically." in first and "Tracking quality: good in all segments." in first
    assert "data-player" not in first and first.count("<figure>") == 2  # stills, which paper shows; no moving cine
    np.testing.assert_array_equal(S.lines_at(study, 3)[0][0], study.tracked[0].lines[3, 1, 0])


def test_what_was_changed_by_hand_is_said_and_fixed_texts_are_not():
    entry = CineEntry("known", "known.nii.gz", ed=0, es=3, spacing=0.5)
    study = strain_case(entry=entry, measures=StrainMeasures(exclude_segments=["apical inferoseptal"]))
    study = replace(study, wall=replace(study.wall, drawn=(2,)))
    said = " ".join(study.by_hand)
    for words in ("End-systole set by the user: frame 3", "Wall drawn by the user at frame 2", "apical inferoseptal"):
        assert words in said
    facts = " ".join(S.list_facts(study))
    assert "End-systole was set by hand." in facts and "smallest cavity" not in facts
    named = replace(study, manual=("End-systole moved from frame 4 to 3, by Ada.",), title="Monday.dcm")
    first = S.case_sections(named, S.grey_values(study.case))[0]
    assert "by Ada" in first and "A4C · Monday.dcm" in first and "known.nii.gz" not in first


def test_drift_is_said_of_each_beat_not_as_a_mean_that_hides_it():
    shares = ([1.0, 0.95, 0.85, 0.8, 0.85, 0.96], [1.0, 0.95, 0.85, 0.8, 0.9, 1.02])
    said = S.list_facts(strain_case([tracked_beat(share=share) for share in shares]))
    assert any("−4.0 and 2.0 percentage points" in words for words in said)


def test_checks_in_words():
    checks = [check("apex towards the probe", 50), check("heart rate", None), check("systole", 0.4)]
    assert S.say_checks(checks) == [
        "Failed: The contour may not be the left ventricle: its apex points 50° off the beam.",
        "Not checked, since the cine does not tell the value: heart rate.", "1 of 3 checks passed.",
    ]  # fmt: skip
