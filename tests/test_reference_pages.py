"""The pages of options and of output files are as generated, and name every file, column and key that is written."""

import csv
import importlib.util
import json

import pytest

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.lv_blood_flow.measures import _TURNS, units
from tests.bundles.running import ROOT, run_module_here

spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs/reference_pages.py")
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)
COLUMNS = pages.read_outputs()["columns"]


@pytest.mark.parametrize("name", pages.PAGES)
def test_pages_are_as_generated(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages.PAGES[name](), (
        "run `python docs/reference_pages.py write`"
    )


def test_every_described_option_is_on_the_page():
    described = json.loads((ROOT / "common/cardiac_motion/bundle/options.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert not [name for name in described if f"| `{name}` |" not in page]


def run(folder, *words):
    words = [words[0], demo_cine(), *words[1:], "--output_dir", str(folder), "--mlflow", "False"]
    done = run_module_here("cardiac_motion.command", *words)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return folder, folder / "examples_ybr_color"


def header(path):
    with open(path, newline="", encoding="utf-8") as file:
        return set(next(csv.reader(file)))


def names_of(group):
    """Names of all described files of a group, without folders."""
    return {
        name.split("/")[-1] for names in pages.read_outputs()["files"][group] for name in names.split(", ")
    }  # fmt: skip


def test_files_and_columns_of_tracking(tmp_path):
    """What a tracking run writes is described; what is described and not written belongs to simulated cines alone."""
    out, case = run(tmp_path / "track", "track", "--method", "farneback", "--max_frames", "3")
    described = set(COLUMNS["Motion: `metrics.csv`, `pairs.csv`"])
    written = (header(out / "metrics.csv") | header(out / "pairs.csv")) - {"case", "pair"}
    assert written <= described
    simulated = {"epe_px", "epe_mm", "lncc2_myocardium", "epe_ed_es_mm", "mean_contour_distance_mm", "hausdorff_mm"}
    assert described - written == simulated | {
        f"{name}_{end}" for name in ("gls", "long_axis_strain") for end in ("true", "error", "absolute_error")
    }
    summary = json.loads((case / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) == set(COLUMNS["Motion: keys of `summary.json`"])
    everywhere = names_of("A list of cases (any bundle, `cohort`)")
    assert {path.name for path in case.iterdir()} <= names_of(
        "Every cine (cpwc_echo, nmsr_echo, and all comparators of cines)"
    )
    assert {path.name for path in out.iterdir() if path.is_file()} <= everywhere


def test_files_and_columns_of_strain(tmp_path):
    out, case = run(tmp_path / "strain", "strain", "--config", "motion_dis.json", "--segment_stride", "3")
    metrics = header(out / "metrics.csv") - {"case"}
    described = set(COLUMNS["Strain: `metrics` of `summary.json`, `metrics.csv`"])
    assert described - metrics == {"gls_true", "gls_error", "ed_error", "es_error"} and metrics <= described
    summary = json.loads((case / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) == set(COLUMNS["Strain: keys of `summary.json`"])
    assert set(summary["metrics"]) == metrics
    beat = summary["beats"][0]
    assert set(beat["numbers"]) <= described
    assert not [key for key in beat if f"`{key}`" not in COLUMNS["Strain: keys of `summary.json`"]["beats"][1]]
    segments = {f"{segment['name']} (%)" for segment in beat["segments"]}
    assert header(case / "strain.csv") - segments == set(COLUMNS["Strain: `strain.csv`"]) - {"SEGMENT (%)"}
    assert {path.name for path in case.iterdir()} <= names_of("strain_pipeline")


def test_columns_of_blood_flow():
    class Physical:
        physical, unit = True, "m/s"

    described = COLUMNS["Blood flow: `flow.csv`"]
    turned = {
        name.replace("TURN", turn): about[0]
        for name, about in described.items()
        for turn in (_TURNS.values() if "TURN" in name else ("",))
    }
    written = units(Physical())
    assert set(turned) == set(written)
    for name in ("mean_speed", "pool_area", "ccw_area", "cw_circulation", "energy_loss"):
        assert turned[name] == written[name]
