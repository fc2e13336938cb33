"""Tables of cases: their statistics against those worked out by hand, and what a file holds."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from cardiac_motion.core.tables import (
    finite,
    metrics_of,
    pair_rows,
    statistics,
    statistics_text,
    table_text,
    write_csv,
    write_tables,
)

ROWS = [{"case": "a", "mse": 1.0, "dice": 0.5}, {"case": "b", "mse": 3.0, "dice": math.nan, "view": "apical"}]


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_statistics_leave_out_what_is_no_number():
    found = statistics(ROWS)
    assert set(found) == {"mse", "dice"}
    assert found["mse"] == {"mean": 2.0, "sd": pytest.approx(math.sqrt(2)), "n": 2}
    assert found["dice"] == {"mean": 0.5, "sd": 0.0, "n": 1}
    assert statistics([{"case": 1, "pair": 2, "x": math.inf}]) == {}
    assert statistics_text(ROWS).splitlines()[1:3] == ["2 cases, mean ± sd:", f"  {'mse':<20} 2 ± 1.4"]


def test_pairs_have_a_row_each():
    assert pair_rows("a", {"mse": [1, 2], "lncc2": [3, 4]}) == [
        {"case": "a", "pair": 0, "mse": 1, "lncc2": 3}, {"case": "a", "pair": 1, "mse": 2, "lncc2": 4},
    ]  # fmt: skip
    assert pair_rows("a", None) == []
    with pytest.raises(ValueError, match="shorter"):
        pair_rows("a", {"mse": [1, 2], "lncc2": [3]})


def test_a_table_has_every_column_of_its_rows(tmp_path):
    write_csv(tmp_path / "deep/t.csv", ROWS)
    first, second = read(tmp_path / "deep/t.csv")
    assert list(first) == ["case", "mse", "dice", "view"] and first["view"] == "" and second["view"] == "apical"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("rows", "pairs", "failed", "files"),
    [
        (ROWS, pair_rows("a", {"mse": [1.0]}), {}, {"metrics.csv", "pairs.csv", "summary.json"}),
        (ROWS, [], {"c": "broken"}, {"metrics.csv", "summary.json"}),
        ([], [], {"c": "broken"}, set()),
        ([], [], {"c": "broken", "d": "broken"}, {"summary.json"}),
    ],
)
def test_the_tables_of_a_list(tmp_path, rows, pairs, failed, files):
    write_tables(tmp_path, rows, pairs, failed)
    assert {path.name for path in tmp_path.iterdir()} == files
    if "summary.json" in files:
        summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
        assert summary["failed"] == failed and set(summary["cases"]) == ({"mse", "dice"} if rows else set())


def test_what_is_not_finite_is_null_and_comes_back_as_nan():
    value = {"a": math.nan, "b": [1.0, -math.inf], "c": torch.tensor([1.0, math.nan]), "d": np.float32(2), "e": "x"}
    assert finite(value) == {"a": None, "b": [1.0, None], "c": [1.0, None], "d": 2.0, "e": "x"}
    found = metrics_of({"metrics": {"x": None, "y": 1.0}})
    assert math.isnan(found["x"]) and found["y"] == 1.0 and metrics_of({}) == {}


def test_stages_for_the_terminal():
    lines = table_text([{"stage": "before", "mse": 0.0012345, "lncc2": 0.5, "seconds": 0.0},
                        {"stage": "scale 1", "mse": 0.001, "lncc2": 0.75, "seconds": 12.34}]).splitlines()  # fmt: skip
    assert [line.split() for line in lines[1:]] == [
        ["before", "1.234", "0.500"],
        ["scale", "1", "1.000", "0.750", "12.3"],
    ]
