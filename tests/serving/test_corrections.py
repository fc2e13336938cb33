"""A case measured with edits, on a known heart: what is tracked again, what is withheld, what a command says."""

import hashlib
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from cardiac_motion.cine.scale import to_file_grid
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving import corrections as C
from cardiac_motion.serving import workbench as W
from cardiac_motion.serving.page_content import page_content
from cardiac_motion.serving.takeaway import command, source_digest
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.quality.checks import Gate, check
from cardiac_motion.strain_pipeline.tracking.motion import Fusion
from tests.strain_pipeline.test_cache import folder as kept_folder  # noqa: F401
from tests.strain_pipeline.test_pipeline import heart  # noqa: F401


@pytest.fixture
def case(kept_folder, tmp_path_factory, monkeypatch):  # noqa: F811
    """The folder of a case whose motion is known, without a bundle's configuration."""
    place = tmp_path_factory.mktemp("case")
    (place / "motion").mkdir()
    (kept_folder / "m").rename(place / "motion" / "dis")
    kept_folder.rename(place / "kept")

    def configure(method, options):
        said = json.loads(options)
        ignore = said.pop("ignore_checks", False)
        measures = StrainMeasures(min_lncc2=-1.0, **said)
        return measures, Fusion(), Gate(ignore_checks=True) if ignore else C.OpenGate()

    monkeypatch.setattr(C, "configure_measuring", configure)
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [])
    return place


def request(case, **more):
    return {"case": str(case), "folder": str(case), "method": "dis", "edits": {}, **more}


def test_layer_view_segments_and_end_systole_run_the_measures_alone(case):
    first = W.correct(request(case))
    tracks = C.tracks_of(case)
    assert tracks.tracked == 1
    ed = first["result"]["beats"][0]["ed"]
    found = [first["row"]["gls"]]
    for edits in ({"layer": "mid-wall"}, {"exclude_segments": ["apical inferoseptal"]}, {"view": "apical_2ch"},
                  {"ed": ed, "es": first["result"]["beats"][0]["es"] - 1}, {"layer": "epicardium"}):  # fmt: skip
        found.append(W.correct(request(case, edits=edits))["row"]["gls"])
    assert tracks.tracked == 1 and len(set(np.round(found, 4))) >= 4


def test_a_drag_tracks_once_and_goes_back_without_tracking(case):
    first = W.correct(request(case))
    frame = first["result"]["beats"][0]["ed"]
    handles = {"frame": frame, "at": [0, 0.5, 1], "moved": [[0, 0], [-3, 0], [0, 0]]}
    moved = W.correct(request(case, handles=handles))
    tracks = C.tracks_of(case)
    assert tracks.tracked == 2 and moved["result"]["drawn"] == [frame]
    again = W.correct(request(case, edits=moved["edits"]))
    assert W.correct(request(case))["row"] == {**first["row"], "seconds": first["row"]["seconds"]}
    assert tracks.tracked == 2 and again["row"]["gls"] == moved["row"]["gls"]
    lines = np.array(first["result"]["lines"][str(frame)][0])
    apex = len(lines) // 2
    assert np.array(moved["result"]["lines"][str(frame)][0])[apex, 0] < lines[apex, 0] - 1.5


def test_clicks_place_a_wall_that_is_drawn_from_then_on(case):
    first = W.correct(request(case))
    frame = first["result"]["beats"][0]["ed"]
    lines = np.array(first["result"]["lines"][str(frame)][0])
    points = [lines[0].tolist(), lines[-1].tolist(), lines[len(lines) // 2].tolist()]
    found = W.correct(request(case, clicks={"frame": frame, "points": points}))
    assert found["result"]["drawn"] == [frame] and found["edits"]["ed"] == frame
    with pytest.raises(InputError, match="frames 0 to"):
        W.correct(request(case, clicks={"frame": 10_000, "points": points}))


def test_a_failed_check_withholds_every_number_until_it_is_ignored(case, monkeypatch):
    failed = check("apex towards the probe", 50)
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [failed])
    found = W.correct(request(case))
    result = found["result"]
    assert result["blocked"] == ["The contour may not be the left ventricle: its apex points 50° off the beam."]
    assert result["means"] == {} and result["bullseye"] == "" and "curves" not in result["beats"][0]
    assert found["row"]["gls"] is None and found["row"]["ejection_fraction"] is None
    assert result["lines"]  # the wall can be seen, and corrected
    text = json.dumps({**found, "result": {**result, "lines": {}}})
    study = C.measure_with_edits(case, "dis", {}).study
    assert f"{study.measured.means['gls']:.4f}"[:7] not in text
    shown = W.correct(request(case, edits={"ignore_checks": True}))
    assert shown["row"]["gls"] is not None and shown["result"]["blocked"] == []


def test_beats_that_fail_are_excluded_where_others_remain():
    gate = C.OpenGate()
    bad, good = check("frames in systole", 1, 3), check("frames in systole", 9, 40)
    assert gate.select_beats([bad, good], [3, 40], "a") == [False, True]
    assert gate.select_beats([bad], [3], "a") == [True]


def test_a_typed_scale_and_frame_rate_give_volumes_and_times(case):
    plain = C.measure_with_edits(case, "dis", {}).study
    found = C.measure_with_edits(case, "dis", {"spacing": [0.7, 0.7], "frame_rate": 50.0}).study
    assert found.case.meta.spacing == (0.7, 0.7)
    assert found.case.meta.frame_times[1] == pytest.approx(0.02) and found.case.meta.frame_time_source == "acquired"
    assert found.measured.means["gls"] == pytest.approx(plain.measured.means["gls"], abs=1.0)
    volumes = found.measured.means["end_diastolic_volume_ml"]
    half = C.measure_with_edits(case, "dis", {"spacing": [0.35, 0.35], "frame_rate": 50.0}).study
    assert volumes == pytest.approx(8 * half.measured.means["end_diastolic_volume_ml"])
    with pytest.raises(InputError, match="frame rate"):
        C.measure_with_edits(case, "dis", {"frame_rate": 1e9})


def test_the_command_says_every_edit_and_no_path_of_this_machine():
    edits = {"ed": 3, "es": 19, "view": "apical_2ch", "layer": "mid-wall", "exclude_segments": ["basal anterior"],
             "ignore_checks": True, "spacing": [0.3, 0.3], "frame_rate": 50, "drawn": {"3": []}}  # fmt: skip
    words = shlex.split(command("a_A2C/a b.mp4", "cpwc", edits, "a_A2C", None))
    said = dict(zip(words[4::2], words[5::2], strict=False))
    assert said["--input"] == "a_A2C/a b.mp4" and said["--contour"] == "a_A2C/contour.json"
    assert said["--ignore_checks"] == "True" and said["--layer"] == "mid-wall" and said["--frame_rate"] == "50"
    assert said["--exclude_segments"] == "['basal anterior']" and said["--spacing"] == "[0.3, 0.3]"
    assert not any(word.startswith("/") for word in words)
    plain = command("a/a.dcm", "cpwc", {"exclude_segments": [], "ignore_checks": False}, "a", None)
    assert "--exclude_segments" not in plain and "--ignore_checks" not in plain and "--contour" not in plain


def test_the_digest_of_a_folder_is_that_of_its_files_in_order(tmp_path):
    (tmp_path / "f").mkdir()
    for k in range(3):
        (tmp_path / "f" / f"{k}.jpg").write_bytes(bytes([k]))
    (tmp_path / "one").write_bytes(bytes([0, 1, 2]))
    assert (
        source_digest(tmp_path / "f") == source_digest(tmp_path / "one") == hashlib.sha256(bytes([0, 1, 2])).hexdigest()
    )


def test_what_a_page_is_sent_can_be_json(case):
    content = page_content(C.measure_with_edits(case, "dis", {}), "dis")
    json.dumps(content, allow_nan=False)
    assert content["layer"] == "endocardium" and {c["state"] for c in content["checks"]} <= {
        "passed",
        "failed",
        "not checked",
    }


def test_a_drawn_wall_is_the_same_as_its_file(case):
    first = C.measure_with_edits(case, "dis", {}).study
    beat = first.tracked[0]
    wall = np.round(to_file_grid(beat.lines[0] + [0.0, 1.0], first.case.cine.meta), 3).tolist()
    edits = {"ed": beat.beat.ed, "drawn": {str(beat.beat.ed): wall}}
    found = C.measure_with_edits(case, "dis", edits).study
    path = case / "contour.json"
    path.write_text(json.dumps(C.contour_content(edits["drawn"])), encoding="utf-8")
    kept = C.read_cache_once(case, "dis")
    entry = replace(kept.case.entry, contour=str(path), ed=beat.beat.ed)
    measures, fusion, gate = C.configure_measuring("dis", "{}")
    other = C.measure_cached(replace(kept, case=replace(kept.case, entry=entry)), measures, fusion, gate)
    assert found.measured.means["gls"] == other.measured.means["gls"]
    assert found.measured.means["gls"] != first.measured.means["gls"]
