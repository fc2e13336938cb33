"""strain_pipeline from its files, with stand-ins for the two image networks: results, reports, views, bad input."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import imageio.v3 as iio
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import input_error_in
from cardiac_motion.networks.stacked_flow import StackedFlow, enlarge
from cardiac_motion.networks.weights import load_weights
from tests.bundles.running import ROOT, run_here
from tests.fresh_heart import measure_unfound
from tests.heart import SIZE, write_heart

INFERENCE = ("strain_pipeline/configs/inference.json", "strain_pipeline/configs/motion_farneback.json")
VIEWS = ("apical_4ch", "apical_2ch", "apical_long_axis")


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    return write_heart(tmp_path_factory.mktemp("hearts"), VIEWS)


def measure(out, heart, cine=None, says=None, empty=False, configs=INFERENCE, **settings):
    """Run the bundle on a cine of a heart with its true labels."""
    run_here(
        *configs, input=str(cine or heart / "cine.nii.gz") if not isinstance(cine, list) else cine,
        output_dir=str(out), mlflow=False, classify={"_target_": "tests.heart.Says", **(says or {})},
        segment={"_target_": "tests.heart.TrueLabels", "path": str(heart / "labels.nii.gz"), "empty": empty},
        **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report_folder(hearts, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    measure(out, hearts[0])
    return out / "cine"


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_numbers_of_a_simulated_heart(report_folder, hearts):
    summary, truth = summary_of(report_folder), json.loads((hearts[0] / "summary.json").read_text(encoding="utf-8"))
    means, (beat,) = summary["metrics"], summary["beats"]
    assert beat["ed"] == 0 and abs(beat["es"] - truth["end_systole_frame"]) <= 1 and beat["complete_beat"]
    assert means["gls"] == pytest.approx(100 * truth["strain"]["gls"], abs=6)
    assert means["gls_peak"] <= means["gls_peak_systolic"] <= means["gls"] < 0
    assert means["heart_rate"] == pytest.approx(61, abs=2)
    assert 0 < means["end_systolic_volume_ml"] < means["end_diastolic_volume_ml"] < 400
    assert means["mapse_mm"] > 3
    assert [s["name"] for s in beat["segments"]][::5] == ["basal inferoseptal", "basal anterolateral"]
    assert all(0 < s["lncc2"] <= 1 and s["fb_error_px"] >= 0 for s in beat["segments"])
    with open(report_folder / "strain.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(beat["curves"]["gls"]) and float(rows[0]["gls (%)"]) == 0
    assert float(rows[beat["es"]]["gls (%)"]) == pytest.approx(means["gls"], abs=1e-3)
    contours = json.loads((report_folder / "contours.json").read_text(encoding="utf-8"))
    assert np.shape(contours["endocardium"]) == (len(rows), 120, 2)
    movie = iio.imread(report_folder / "movie.mp4")
    assert len(movie) == len(rows)


def test_a_forced_case_says_so_on_its_page_and_in_every_frame_of_its_movie(hearts, tmp_path, report_folder):
    """Red above each frame, and of a case that passes none."""
    says = {"view": "parasternal_short_axis", "probability": 0.9}
    measure(tmp_path, hearts[0], says=says, ignore_checks=True)
    folder = tmp_path / "cine"
    summary = summary_of(folder)
    assert summary["forced"] and [c["name"] for c in summary["checks"] if not c["passed"]] == [
        "view", "lead of the view",
    ]  # fmt: skip
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    assert "measured by force though it fails 2 check" in text
    movie, plain = iio.imread(folder / "movie.mp4"), iio.imread(report_folder / "movie.mp4")
    assert len(movie) == len(plain) and movie.shape[1] == plain.shape[1] + 26
    red = movie[:, 2:24, -40:].reshape(len(movie), -1, 3).astype(float).mean(1)
    assert (red[:, 0] > 140).all() and (red[:, 1:] < 70).all()
    assert (plain[:, 2:24].astype(float).mean((1, 2))[:, 0] < 60).all()


def test_change_since_an_earlier_study(hearts, tmp_path, report_folder):
    """The same cine again: no change, which lies within the error of measuring."""
    measure(tmp_path, hearts[0], baseline=str(report_folder))
    summary = summary_of(tmp_path / "cine")
    found = {row["name"]: row for row in summary["changes"]}
    assert found["gls"]["change"] == pytest.approx(0, abs=1e-6) and found["gls"]["more_than_error"] is False
    assert found["gls"]["interval"][1] == pytest.approx(summary["smallest_detectable_change"]["gls"], abs=1e-6)
    assert "basal anterolateral" in found and summary["baseline"].endswith("summary.json")
    assert "change since the earlier study" in Page((tmp_path / "cine/report.html").read_text(encoding="utf-8")).text
    with pytest.raises(RuntimeError) as caught:
        measure(tmp_path / "b", hearts[0], baseline=str(hearts[0] / "no"))
    assert "no summary.json of strain_pipeline is there" in str(input_error_in(caught.value))


class Page(HTMLParser):
    """Collects tags, their links, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_report_is_one_whole_page_that_needs_nothing_else(report_folder):
    text = (report_folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open and {"svg", "table", "polyline", "script", "img"} <= set(page.tags)
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links) and page.links
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+|\"[\w+/=]{200,}\"", "", text))
    assert "Research use only, not for diagnosis." in page.text and "CAMUS" in page.text
    gls = summary_of(report_folder)["metrics"]["gls"]
    assert f"{gls:.1f}".replace("-", "−") in page.text
    player = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    assert len(player["frames"]) == summary_of(report_folder)["frames"] and len(player["lines"]["0"]) == 8


def test_report_in_a_browser(report_folder):
    browser = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    if browser is None:
        pytest.skip("no Chromium on the path")
    done = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=300", "--dump-dom",
         "--enable-logging=stderr", f"file://{report_folder / 'report.html'}"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert re.search(r"<output>frame \d+", done.stdout), "the player's script ran"
    assert "CONSOLE" not in done.stderr, "no error, and nothing that the policy refused"


def test_three_views_make_one_report(hearts, tmp_path):
    cines = [str(shutil.copy(heart / "cine.nii.gz", tmp_path / f"{k}.nii.gz")) for k, heart in enumerate(hearts)]
    measure(tmp_path / "out", hearts[0], cines, view=["A4C", "A2C", "ALAX"], ignore_checks=True)
    study = json.loads((tmp_path / "out/study.json").read_text(encoding="utf-8"))
    gls = [summary_of(tmp_path / f"out/{k}")["metrics"]["gls"] for k in range(3)]
    assert study["gls_average"] == pytest.approx(np.mean(gls)) and len(study["segments"]) == 18
    assert study["biplane"]["ejection_fraction"] > 10
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    eye = re.search(r'<svg role="img" class="bullseye".*?</svg>', text, re.DOTALL)[0]
    assert eye.count("<path") == 18 and text.count("<div data-player>") == 3
    measure(tmp_path / "twice", hearts[0], cines[:2], view=["A4C", "A4C"], select_cine={"A4C": "1"}, save_figures=False,
            ignore_checks=True)  # fmt: skip
    study = json.loads((tmp_path / "twice/study.json").read_text(encoding="utf-8"))
    assert [(cine["name"], cine["taken"]) for cine in study["cines"]] == [("0", False), ("1", True)]
    assert not (tmp_path / "twice/0").exists() and study["ejection_fraction"] is None


def as_dicom(path, heart, **attributes):
    """The heart's cine as an ultrasound multi-frame DICOM file; ``regions`` are (x0, y0, x1, y1, data type)."""
    cine = read_cine(heart / "cine.nii.gz")
    frames = (cine.as_tensor()[0].numpy() * 255).round().astype(np.uint8)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientID, data.PatientName, data.StudyDate, data.StudyTime = "1", "Simulated^Heart", "20260101", "120000"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "US", 1, 1
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape
    data.FrameTime = 1000 * (cine.meta["frame_times"][1] - cine.meta["frame_times"][0])
    data.PixelData = frames.tobytes()
    regions = attributes.pop("regions", [(0, 0, SIZE - 1, SIZE - 1, 1)])
    data.SequenceOfUltrasoundRegions = []
    for x0, y0, x1, y1, kind in regions:
        item = Dataset()
        item.RegionSpatialFormat, item.RegionDataType = 1, kind
        item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaY, item.PhysicalDeltaX = (s / 10 for s in cine.meta["spacing"])
        data.SequenceOfUltrasoundRegions.append(item)
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=True)
    return path


def items(dataset):
    yield dataset
    for item in dataset.get("ContentSequence", []):
        yield from items(item)


def test_structured_report_of_a_dicom_cine(hearts, tmp_path):
    source = as_dicom(tmp_path / "a4c.dcm", hearts[0], RWaveTimeVector=[60.0])
    measure(tmp_path / "out", hearts[0], source)
    summary = summary_of(tmp_path / "out/a4c")
    assert summary["beats"][0]["ed"] == round(0.06 / summary["frame_times"][1]), "the R wave is end-diastole"
    report = pydicom.dcmread(tmp_path / "out/a4c/sr.dcm")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "5300"
    assert report.PatientID == "1" and report.VerificationFlag == "UNVERIFIED"
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(report)
        if item.get("ValueType") == "NUM"
    }
    assert numbers["130687"] == pytest.approx(summary["metrics"]["gls"], abs=0.01)
    assert numbers["79993-2"] == pytest.approx(summary["metrics"]["ejection_fraction"], abs=0.01)
    assert numbers["ES-B-IS"] == pytest.approx(summary["beats"][0]["segments"][0]["end_systolic"], abs=0.01)
    if shutil.which("dsrdump"):
        done = subprocess.run(
            ["dsrdump", str(tmp_path / "out/a4c/sr.dcm")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "LV End-systolic GLS 4CH (Endocardial)" in done.stdout


def test_a_users_contour_takes_the_place_of_the_automatic_one(report_folder, hearts, tmp_path):
    contours = json.loads((report_folder / "contours.json").read_text(encoding="utf-8"))
    endo = np.array(contours["endocardium"][0])
    moved = endo + 0.15 * (endo.mean(0) - endo)
    (tmp_path / "ed.json").write_text(json.dumps({"endocardium": moved.tolist()}), encoding="utf-8")
    labels = nibabel.load(hearts[0] / "labels.nii.gz")
    mask = np.asarray(labels.dataobj)[:, :, 0]
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "ed.nii.gz")
    starts = {}
    for name in ("ed.json", "ed.nii.gz"):
        measure(tmp_path / f"{name}.out", hearts[0], contour=str(tmp_path / name), ed=0, save_figures=False)
        assert summary_of(tmp_path / f"{name}.out/cine")["contour"].endswith(name)
        starts[name] = np.array(
            json.loads((tmp_path / f"{name}.out/cine/contours.json").read_text(encoding="utf-8"))["endocardium"][0]
        )
    outline = np.linalg.norm(starts["ed.json"][:, None] - moved[None], axis=-1).min(1)
    assert outline.mean() < 0.5 and outline.max() < 2.5, "the line starts where it was drawn, but for its corners"
    assert np.linalg.norm(starts["ed.nii.gz"] - endo, axis=-1).mean() < 1.5


def test_unknown_spacing_gives_no_millimetres(hearts, tmp_path):
    cine = nibabel.load(hearts[0] / "cine.nii.gz")
    image = nibabel.Nifti1Image(np.asarray(cine.dataobj), np.eye(4))
    image.header.set_intent(2001, allow_unknown=True)
    nibabel.save(image, tmp_path / "bare.nii.gz")
    measure(tmp_path / "out", hearts[0], tmp_path / "bare.nii.gz")
    means = summary_of(tmp_path / "out/bare")["metrics"]
    nothing = ("mapse_mm", "end_diastolic_volume_ml", "heart_rate", "gls_time_to_peak_ms",
               "gls_systolic_rate", "mechanical_dispersion_ms")  # fmt: skip
    assert all(means[key] is None for key in nothing) and means["gls"] < 0 < means["ejection_fraction"]
    assert "spacing is unknown" in (tmp_path / "out/bare/report.html").read_text(encoding="utf-8")


def test_a_cine_cut_before_its_end_says_what_is_missing(hearts, tmp_path):
    measure(tmp_path / "out", hearts[0], max_frames=11, save_figures=False)
    summary = summary_of(tmp_path / "out/cine")
    assert not summary["beats"][0]["complete_beat"] and "not whole" in summary["warnings"][0]
    assert all(
        summary["metrics"][key] is None for key in ("drift", "gls_peak", "gls_post_systolic_index", "heart_rate")
    )


def test_a_segment_outside_the_sector_is_left_out_and_said_so(hearts, tmp_path):
    cine = nibabel.load(hearts[0] / "cine.nii.gz")
    frames = np.asarray(cine.dataobj).copy()
    endo = json.loads((hearts[0] / "contours.json").read_text(encoding="utf-8"))["endocardium"][0]
    frames[int(np.max(endo, 0)[1]) - 6 :] = 0  # columns to the right of the lateral wall's inner border
    nibabel.save(nibabel.Nifti1Image(frames, cine.affine, cine.header), tmp_path / "cut.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        measure(tmp_path / "out", hearts[0], tmp_path / "cut.nii.gz")
    assert "ejection fraction tracked against segmented" in str(input_error_in(caught.value)), "a wall is missing"
    measure(tmp_path / "out", hearts[0], tmp_path / "cut.nii.gz", ignore_checks=True)
    summary = summary_of(tmp_path / "out/cut")
    out = [s for s in summary["beats"][0]["segments"] if s["rejected"]]
    assert out and all("anterolateral" in s["name"] and s["end_systolic"] is None for s in out)
    assert any("left out" in text for text in summary["warnings"])
    assert "(left out)" in (tmp_path / "out/cut/report.html").read_text(encoding="utf-8")


def test_the_stacked_network_refuses_weights_that_are_not_there(hearts, tmp_path):
    configs = (INFERENCE[0], "strain_pipeline/configs/motion_stacked.json")
    with pytest.raises(RuntimeError) as caught:
        measure(tmp_path / "out", hearts[0], configs=configs, motion_weights=str(tmp_path / "none.pt"))
    assert "no such weights" in str(input_error_in(caught.value)) and not (tmp_path / "out").exists()


def test_the_stacked_network_has_learned_to_see_motion():
    """On a heart drawn from no template: better than no motion by far, and than either route alone."""
    network = load_weights(StackedFlow(), ROOT / "bundles/strain_pipeline/models/stacked_flow.pt").eval()
    together = measure_unfound(network)
    assert together < 0.65
    for route in (network.correlation, network.small):
        assert together < measure_unfound(lambda image, route=route: enlarge(route(image)[-1], image))


def gif(path, frames):
    iio.imwrite(path, frames, duration=40, loop=0)
    return str(path)


def bad_cine(kind, folder, heart):
    """A file that must not be measured."""
    if kind == "colour":
        frames = np.repeat(np.random.default_rng(0).integers(60, 250, (6, SIZE, SIZE, 1), dtype=np.uint8), 3, -1)
        frames[:, 40:80, 40:80] = (220, 30, 20)
        return gif(folder / "colour.gif", frames)
    if kind == "doppler":
        return str(as_dicom(folder / "cf.dcm", heart, regions=[(0, 0, SIZE - 1, SIZE - 1, 1), (20, 20, 90, 90, 2)]))
    if kind == "one":
        return gif(folder / "one.gif", np.zeros((1, 40, 40), dtype=np.uint8))
    return None


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("plain", {"says": {"view": "parasternal_short_axis"}}, "looks like parasternal short axis (0.97), not"),
        ("plain", {"says": {"probability": 0.4}}, "the view is not certain"),
        ("plain", {"view": "PLAX"}, "view 'PLAX': strain can be measured in"),
        ("plain", {"view": ["A4C", "A2C"]}, "--view has 2 values for 1 cines"),
        ("plain", {"empty": True}, "no left ventricle found"),
        ("plain", {"max_frames": 6}, "no complete systole"),
        ("plain", {"ed": 9, "es": 3}, "end-systole must follow end-diastole"),
        ("plain", {"ed": 99}, "ED at frame 99"),
        ("plain", {"contour": "nowhere.json"}, "nowhere.json: cannot be read as a contour"),
        ("outside", {}, "the contour leaves the image"),
        ("one", {}, "only 1 frame"),
        ("colour", {}, "colour Doppler"),
        ("doppler", {}, "colour Doppler"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(kind, settings, words, hearts, tmp_path):
    settings = {"save_figures": False, **settings}
    if kind == "outside":
        (tmp_path / "out.json").write_text(json.dumps([[1, 1], [2, 400], [3, 3]]), encoding="utf-8")
        settings["contour"] = str(tmp_path / "out.json")
    with pytest.raises(RuntimeError) as caught:
        measure(tmp_path / "out", hearts[0], bad_cine(kind, tmp_path, hearts[0]), **settings)
    assert words in str(input_error_in(caught.value))
    assert not (tmp_path / "out").exists()


def test_evaluation_on_simulated_cases(hearts, tmp_path, capsys):
    folder = hearts[0].parent
    listed = json.loads((folder / "datalist.json").read_text(encoding="utf-8"))
    listed["test"] = [listed["test"][0], {**listed["test"][0], "case": "again"}]
    (tmp_path / "list.json").write_text(json.dumps(listed), encoding="utf-8")
    run_here(
        *INFERENCE, "strain_pipeline/configs/evaluate.json", datalist=str(tmp_path / "list.json"),
        dataset_dir=str(folder), output_dir=str(tmp_path / "out"), mlflow=False,
        classify={"_target_": "tests.heart.Says"},
        segment={"_target_": "tests.heart.TrueLabels", "path": str(hearts[0] / "labels.nii.gz")},
    )  # fmt: skip
    with open(tmp_path / "out/metrics.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and abs(float(rows[0]["gls_error"])) < 6 and abs(int(rows[0]["es_error"])) <= 1
    assert (tmp_path / "out/bland_altman.png").is_file() and "| gls | 2 |" in capsys.readouterr().out


def test_pixels_that_are_not_square_and_times_of_playback(report_folder, hearts, tmp_path):
    """Columns twice as wide, and a description that says that the times are those of playback."""
    cine = nibabel.load(hearts[0] / "cine.nii.gz")
    frames = np.asarray(cine.dataobj)
    wide = nibabel.Nifti1Image((frames[::2] + frames[1::2]) / 2, cine.affine, cine.header)
    dx, dy, dt = cine.header.get_zooms()
    wide.header.set_zooms((2 * dx, dy, dt))
    wide.header["descrip"] = b"cine (X, Y, T), playback"
    nibabel.save(wide, tmp_path / "wide.nii.gz")
    measure(tmp_path / "out", hearts[0], tmp_path / "wide.nii.gz")
    summary, whole = summary_of(tmp_path / "out/wide"), summary_of(report_folder)
    assert summary["size"] == [SIZE, SIZE // 2] and summary["zoom"] == [1, 2]
    assert summary["metrics"]["gls"] == pytest.approx(whole["metrics"]["gls"], abs=1)
    assert summary["metrics"]["mapse_mm"] == pytest.approx(whole["metrics"]["mapse_mm"], abs=1)
    lines = [
        json.loads((f / "contours.json").read_text(encoding="utf-8"))["endocardium"][0]
        for f in (tmp_path / "out/wide", report_folder)
    ]
    on_file, square = np.array(lines[0]), np.array(lines[1])
    assert np.abs((on_file + 0.5) * (1, 2) - 0.5 - square).mean() < 2
    assert summary["times_doubted"] and any("file's playback" in text for text in summary["warnings"])
    page = (tmp_path / "out/wide/report.html").read_text(encoding="utf-8")
    assert "beats/min (by the playback rate)" in page and "ms (by the playback rate)" in page
