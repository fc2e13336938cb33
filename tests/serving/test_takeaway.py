"""Files to take away of a known heart: what they hold, what they say of themselves, when there are none."""

import hashlib
import json
import shlex
import zipfile

import nibabel
import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving import corrections as C
from cardiac_motion.serving import workbench as W
from cardiac_motion.serving.takeaway import command, first_file, source_digest, take
from cardiac_motion.strain_pipeline.quality.checks import check
from tests.bundles.running import ROOT
from tests.serving.known_case import case, heart, kept_folder, request  # noqa: F401


@pytest.fixture
def taken(case, tmp_path_factory, monkeypatch):  # noqa: F811
    """Takes the known heart away: the answer, and the files by name."""
    monkeypatch.chdir(ROOT)
    place = tmp_path_factory.mktemp("job")
    source = place / "heart rest.mp4"
    source.write_bytes(b"heart")

    def take_away(**more):
        own = {"folder": str(place), "source": str(source), "title": source.name, "frames": 21}
        found = take(request(case, **own, **more))
        with zipfile.ZipFile(case / "take.zip") as archive:
            files = {name.removeprefix(f"{found['name']}/"): archive.read(name) for name in archive.namelist()}
        return found, files

    return take_away


def test_the_files_hold_what_was_measured_and_say_of_which_edits(taken, case, tmp_path):  # noqa: F811
    saved = tmp_path / "label.nii.gz"
    log = [{"what": "layer mid-wall"}]
    found, files = taken(edits={"layer": "mid-wall"}, revision=1, log=log, manual=["Layer changed, by Ada."],
                         study_label=str(saved))  # fmt: skip
    assert found["name"].startswith("heart_rest_A4C_") and found["files"] == sorted(files)
    assert set(found["costs"]) == {"strain", "report and movie", "fields and masks"}
    about = json.loads(files["about.json"])
    assert (about["source"], about["revision"], about["method"]) == ("heart rest.mp4", 1, "dis")
    assert about["edits"] == {"layer": "mid-wall"} and about["source_sha256"] == hashlib.sha256(b"heart").hexdigest()
    assert json.loads(files["log.json"]) == log and b"by Ada" in files["report.html"]
    measured = C.measure_with_edits(case, "dis", {"layer": "mid-wall"}).study
    assert json.loads(files["summary.json"])["metrics"]["gls"] == pytest.approx(measured.measured.means["gls"])
    assert saved.read_bytes() == files["labels.nii.gz"]
    labels = nibabel.load(saved)
    frames, *size = measured.case.cine.shape[1:]
    assert labels.shape == (*size[::-1], frames) and set(np.unique(labels.dataobj)) >= {0, 1, 2}
    assert "contour.json" not in files and "--contour" not in files["command.txt"].decode()


def test_a_drawn_wall_is_taken_away_with_the_command_that_reads_it(taken, case):  # noqa: F811
    frame = W.correct(request(case))["result"]["beats"][0]["ed"]
    handles = {"frame": frame, "at": [0, 0.5, 1], "moved": [[0, 0], [-3, 0], [0, 0]]}
    edits = W.correct(request(case, handles=handles))["edits"]
    found, files = taken(edits=edits)
    assert json.loads(files["contour.json"]) == C.contour_content(edits["drawn"])
    assert "drawn" not in json.loads(files["about.json"])["edits"]
    words = shlex.split(files["command.txt"].decode())
    assert words[words.index("--contour") + 1] == f"{found['name']}/contour.json"
    assert words[words.index("--input") + 1] == f"{found['name']}/heart rest.mp4"


def test_no_files_while_a_check_fails(taken, case, monkeypatch):  # noqa: F811
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [check("apex towards the probe", 50)])
    with pytest.raises(InputError, match=r"no report because a check failed: .* 50° off the beam"):
        taken()
    assert not (case / "take.zip").exists()


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


def test_the_header_of_a_folder_is_that_of_its_first_dicom_file(tmp_path):
    for name in ("00001.dcm", "00000.dcm"):
        (tmp_path / name).write_bytes(b"x")
    assert first_file(tmp_path) == tmp_path / "00000.dcm" and first_file(tmp_path / "a.mp4") == tmp_path / "a.mp4"
    (tmp_path / "pictures").mkdir()
    assert first_file(tmp_path / "pictures") == tmp_path / "pictures"
