"""Tables in the pages are those of ``docs/results``, and nothing quotes another number."""

import importlib.util
import json
import re

import pytest

from tests.bundles.running import ROOT

spec = importlib.util.spec_from_file_location("result_tables", ROOT / "docs/result_tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)
NAMES = sorted(path.stem for path in tables.RESULTS.glob("*.json"))


@pytest.mark.parametrize("page", tables.list_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_as_generated(page):
    text = page.read_text(encoding="utf-8")
    assert tables.generate(text) == text, "run `python docs/result_tables.py write`"
    assert text.count("<!-- table: ") == text.count("<!-- end of table -->") == len(tables.BLOCK.findall(text))


@pytest.mark.parametrize("name", NAMES)
def test_a_table_says_where_it_comes_from(name):
    _, about = tables.read_table(name)
    if "quoted" in about:
        assert tables.describe_origin(about).endswith(f"Quoted from {about['quoted']}.")
        return
    assert {"title", "command", "date", "commit", "machine", "selection"} <= set(about)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", about["date"]) and re.fullmatch(r"[0-9a-f]{7,40}", about["commit"])


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_in_a_page(name):
    assert any(f"<!-- table: {name}" in page.read_text(encoding="utf-8") for page in tables.list_pages())


def test_a_table_is_drawn(tmp_path):
    (tmp_path / "t.csv").write_text("method,a,b\nx,-1.25,\ny,0.5,3 of 5\n", encoding="utf-8")
    about = {
        "title": "Error, mm", "date": "2026-01-01", "commit": "abcdef0", "machine": "two cores",
        "selection": "Nothing.", "decimals": {"a": 2}, "best": "min",
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(about), encoding="utf-8")
    whole = tables.to_markdown("t", folder=tmp_path).splitlines()
    assert whole[:4] == ["| method | a | b |", "|---|---:|---:|", "| x | **−1.25** |  |", "| y | 0.50 | 3 of 5 |"]
    assert whole[5] == "Error, mm. Measured 2026-01-01 at `abcdef0`, two cores. Nothing."
    page = "<!-- table: t: b rows=y -->\nold\n<!-- end of table -->\n"
    assert tables.generate(page, tmp_path).splitlines()[3] == "| y | 3 of 5 |"


def test_a_table_of_a_benchmark_is_read(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps({"x": {"y": {"seconds": 0.25}}}), encoding="utf-8")
    origin = {"file": "b.json", "rows": {"X": "x.y"}, "columns": {"ms": ["seconds", 1000], "MB": "memory"}}
    assert tables.read_benchmark(origin, tmp_path) == [{"method": "X", "ms": "250", "MB": ""}]


def test_a_changed_number_is_noticed(tmp_path):
    page = next(page for page in tables.list_pages() if "<!-- table: " in page.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    block = tables.BLOCK.search(text)
    wrong = text[: block.start(4)] + re.sub(r"\d", "9", block[4]) + text[block.end(4) :]
    assert tables.generate(wrong) == text


BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/metadata.json"))


@pytest.mark.parametrize("name", BUNDLES)
def test_the_metadata_give_measured_metrics(name):
    metadata = json.loads((ROOT / f"bundles/{name}/configs/metadata.json").read_text(encoding="utf-8"))
    metrics = tables.measured_metrics(name)
    assert metadata["eval_metrics"] == metrics and metrics
