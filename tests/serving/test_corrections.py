"""A case measured with edits, on a known heart: what is tracked again, and which beats are given."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cardiac_motion.cine.scale import to_file_grid
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving import corrections as C
from cardiac_motion.serving import workbench as W
from cardiac_motion.strain_pipeline.quality.checks import check
from tests.serving.known_case import case, heart, kept_folder, request  # noqa: F401


def test_layer_view_segments_and_end_systole_run_the_measures_alone(case):  # noqa: F811
    first = W.correct(request(case))
    tracks = C.open_track_cache(case)
    assert tracks.tracked == 1
    ed = first["result"]["beats"][0]["ed"]
    found = [first["row"]["gls"]]
    for edits in ({"layer": "mid-wall"}, {"exclude_segments": ["apical inferoseptal"]}, {"view": "apical_2ch"},
                  {"ed": ed, "es": first["result"]["beats"][0]["es"] - 1}, {"layer": "epicardium"}):  # fmt: skip
        found.append(W.correct(request(case, edits=edits))["row"]["gls"])
    assert tracks.tracked == 1 and len(set(np.round(found, 4))) >= 4


def test_a_drag_tracks_once_and_goes_back_without_tracking(case):  # noqa: F811
    first = W.correct(request(case))
    frame = first["result"]["beats"][0]["ed"]
    handles = {"frame": frame, "at": [0, 0.5, 1], "moved": [[0, 0], [-3, 0], [0, 0]]}
    moved = W.correct(request(case, handles=handles))
    tracks = C.open_track_cache(case)
    assert tracks.tracked == 2 and moved["result"]["drawn"] == [frame]
    again = W.correct(request(case, edits=moved["edits"]))
    assert W.correct(request(case))["row"] == {**first["row"], "seconds": first["row"]["seconds"]}
    assert tracks.tracked == 2 and again["row"]["gls"] == moved["row"]["gls"]
    lines = np.array(first["result"]["lines"][str(frame)][0])
    apex = len(lines) // 2
    assert np.array(moved["result"]["lines"][str(frame)][0])[apex, 0] < lines[apex, 0] - 1.5


def test_clicks_place_a_wall_that_is_drawn_from_then_on(case):  # noqa: F811
    first = W.correct(request(case))
    frame = first["result"]["beats"][0]["ed"]
    lines = np.array(first["result"]["lines"][str(frame)][0])
    points = [lines[0].tolist(), lines[-1].tolist(), lines[len(lines) // 2].tolist()]
    found = W.correct(request(case, clicks={"frame": frame, "points": points}))
    assert found["result"]["drawn"] == [frame] and found["edits"]["ed"] == frame
    with pytest.raises(InputError, match="frames 0 to"):
        W.correct(request(case, clicks={"frame": 10_000, "points": points}))


def test_beats_that_fail_are_excluded_where_others_remain():
    gate = C.OpenGate()
    bad, good = check("frames in systole", 1, 3), check("frames in systole", 9, 40)
    assert gate.select_beats([bad, good], [3, 40], "a") == [False, True]
    assert gate.select_beats([bad], [3], "a") == [True]


def test_a_typed_scale_and_frame_rate_give_volumes_and_times(case):  # noqa: F811
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


def test_a_drawn_wall_is_the_same_as_its_file(case):  # noqa: F811
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
