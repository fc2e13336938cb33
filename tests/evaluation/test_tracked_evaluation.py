"""The record of a run: one case by its pairs, several by case; the name, the files, what failed."""

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation import tracked_evaluation as record
from cardiac_motion.evaluation.tracked_evaluation import RunRecord, list_name
from cardiac_motion.evaluation.writer import MetricsTable
from tests.evaluation.made import evaluator


@pytest.fixture
def sent(monkeypatch):
    """What would be sent, and of which folder."""
    found = []
    monkeypatch.setattr(record, "send_or_keep", lambda folder, one: found.append((folder, one)))
    return found


def test_one_case_is_recorded_by_its_pairs(cines, sent):
    evaluator(cines, "a", [MetricsTable(show=False), RunRecord(preset="fast", params={"levels": 3})]).run()
    ((folder, found),) = sent
    assert folder == cines / "out" and found.name == "still · fast · a" and found.experiment == "cines"
    assert found.tags["case"] == "a" and found.params == {"levels": 3} and not found.failed
    assert [(name, step) for name, _, step in found.parts["a"] if name == "pairs/mse"] == [
        ("pairs/mse", 0),
        ("pairs/mse", 1),
    ]
    assert found.metrics["mse"] == pytest.approx(sum(v for n, v, _ in found.parts["a"] if n == "pairs/mse") / 2)
    assert found.files == ["a/ddf.nii.gz", "a/summary.json", "metrics.csv", "pairs.csv", "summary.json"]
    assert found.started <= found.ended


def test_several_cases_are_recorded_by_case(cines, sent):
    handler = RunRecord(params={"datalist": "lists/some.json", "fold": "test"}, send_fields=False)
    evaluator(cines, "ab", [handler]).run()
    ((_, found),) = sent
    assert found.name == "still · some test, 2 cases" and found.tags["list"] == "some test, 2 cases"
    values = {name: dict((n, (v, step)) for n, v, step in rows) for name, rows in found.parts.items()}
    assert (values["a"]["cases/mse"][1], values["b"]["cases/mse"][1]) == (0, 1)
    mean = (values["a"]["cases/mse"][0] + values["b"]["cases/mse"][0]) / 2
    assert found.metrics["mse"] == pytest.approx(mean) and found.metrics["cases_done"] == found.step == 2
    assert found.files == ["a/summary.json", "b/summary.json"]


def test_a_case_that_failed_marks_the_run(cines, sent):
    (cines / "a.nii.gz").write_bytes(b"no cine")
    with pytest.raises(InputError):
        evaluator(cines, "ab", [RunRecord()]).run()
    ((_, found),) = sent
    assert found.failed and found.metrics["cases_failed"] == 1 and set(found.parts) == {"b"}


def test_nothing_is_sent_where_nothing_is_done_or_wanted(cines, sent):
    evaluator(cines, "a", [RunRecord(enabled=False)]).run()
    (cines / "b.nii.gz").write_bytes(b"no cine")
    with pytest.raises(InputError):
        evaluator(cines, "b", [RunRecord()]).run()
    assert not sent


def test_names_of_lists():
    assert list_name({"datalist": "data_lists/simulated.json", "fold": "test"}, 60) == "simulated test, 60 cases"
    assert list_name({"datalist": "a.json", "fold": None}, 2) == "a, 2 cases" and list_name({}, 3) == "3 cases"
