"""A case's way through an evaluator: what handlers see, that MONAI's attach, and that a folder is whole or absent."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.handlers import CheckpointSaver, MetricsSaver, StatsHandler, ValidationHandler

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.run_settings import note_settings
from cardiac_motion.evaluation import cine as way
from cardiac_motion.evaluation.case_evaluator import CaseEvents
from cardiac_motion.evaluation.cine import CineReport
from cardiac_motion.evaluation.writer import MetricsTable
from tests.evaluation.made import Still, evaluator


def test_the_way_of_a_case_and_who_watches_it(cines):
    engine, seen = evaluator(cines), []
    for event in (
        Events.STARTED, CaseEvents.CASE_READ, IterationEvents.FORWARD_COMPLETED, IterationEvents.MODEL_COMPLETED,
        CaseEvents.CASE_DONE, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED,
    ):  # fmt: skip
        engine.add_event_handler(event, lambda e, name: seen.append(name), event.name)
    engine.add_event_handler(CaseEvents.CASE_READ, lambda e: seen.append(e.state.batch["case"]))
    engine.run()
    case = ["CASE_READ", None, "FORWARD_COMPLETED", "MODEL_COMPLETED", "CASE_DONE", "ITERATION_COMPLETED"]
    each = [[name or letter for name in case] for letter in "ab"]
    assert seen == ["STARTED", *each[0], *each[1], "EPOCH_COMPLETED", "COMPLETED"]
    report = engine.state.output
    assert isinstance(report, CineReport) and report.folder == cines / "out/b" and not engine.state.failed
    assert torch.equal(report["pred"], report.result.ddf) and report["image"].shape == (2, 2, 48, 56)
    assert set(report) >= {"case", "image", "pred", "metrics", "folder", "cine"}
    assert engine.state.metrics["mse"] == pytest.approx(report.scores.metrics["mse"])


def test_a_metric_has_one_column(cines):
    engine = evaluator(cines, "a")
    engine.run()
    metrics = engine.state.output.scores.metrics
    assert [key for key in metrics if key.startswith("mse")] == ["mse_unregistered", "mse"]


def test_handlers_of_monai_attach(cines, capsys):
    where = cines / "monai"
    network, ran = Still(), []
    handlers = [
        StatsHandler(name="stats", output_transform=lambda report: {"mse": report["metrics"]["mse"]}),
        MetricsSaver(str(where)),
        CheckpointSaver(str(where), {"network": network}, save_final=True),
    ]
    engine = evaluator(cines, handlers=handlers)
    engine.add_event_handler(Events.COMPLETED, lambda e: ran.append(e.state.epoch))
    trainer = Engine(lambda engine, batch: None)
    ValidationHandler(1, engine).attach(trainer)
    trainer.run([0], max_epochs=2)
    assert ran == [1, 2] and "Iter: 2/2 -- mse: " in capsys.readouterr().out
    assert "mse," in (where / "metrics.csv").read_text(encoding="utf-8")
    assert list(where.glob("*.pt"))


def test_a_folder_is_whole_or_absent(cines, monkeypatch):
    (cines / "contour.json").write_text(json.dumps([[30, 15], [10, 28], [30, 40]]), encoding="utf-8")
    given = {"contour": str(cines / "contour.json")}
    write = way.write_cine_case.__globals__["write_contour"]

    def dies(*given):
        raise KeyboardInterrupt

    monkeypatch.setitem(way.write_cine_case.__globals__, "write_contour", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluator(cines, "a", **given).run()
    assert not list((cines / "out").iterdir())
    monkeypatch.setitem(way.write_cine_case.__globals__, "write_contour", write)
    evaluator(cines, "a", **given).run()
    files = {path.name for path in (cines / "out/a").iterdir()}
    assert files == {"ddf.nii.gz", "contours.json", "strain.csv", "strain.png", "summary.json"}
    assert np.isfinite(json.loads((cines / "out/a/summary.json").read_text(encoding="utf-8"))["metrics"]["gls"])


def test_a_bad_case_does_not_stop_the_list(cines):
    (cines / "a.nii.gz").write_bytes(b"no cine")
    engine = evaluator(cines)
    with pytest.raises(InputError, match="1 of 2 cases failed"):
        engine.run()
    assert set(engine.state.failed) == {"a"} and (cines / "out/b/summary.json").is_file()


def test_whatever_goes_wrong_is_the_case_s_own_and_the_table_is_written(cines, monkeypatch):
    def fail(case, *rest):
        if case.name == "a":
            raise TypeError("a defect")
        return measured(case, *rest)

    measured = way.reconstruction_scores
    monkeypatch.setattr(way, "reconstruction_scores", fail)
    engine = evaluator(cines, handlers=[MetricsTable(show=False)])
    with pytest.raises(InputError, match="1 of 2 cases failed: a: TypeError: a defect"):
        engine.run()
    assert (cines / "out/metrics.csv").read_text(encoding="utf-8").splitlines()[1].startswith("b,")
    with pytest.raises(TypeError):
        evaluator(cines, "a").run()


def test_an_interrupted_list_is_taken_up(cines, monkeypatch, capsys):
    config = cines / "configs/inference.json"
    config.parent.mkdir()
    config.write_text("{}", encoding="utf-8")

    def run(options, stop=""):
        done = []

        def scores(case, *rest):
            if case.name == stop:
                raise KeyboardInterrupt
            done.append(case.name)
            return measured(case, *rest)

        monkeypatch.setattr(way, "reconstruction_scores", scores)
        note_settings([config], options)
        try:
            evaluator(cines, handlers=[MetricsTable(show=False)]).run()
        except KeyboardInterrupt:
            done.append("stopped")
        return done

    measured = way.reconstruction_scores
    assert run({"levels": 3}, "b") == ["a", "stopped"] and (cines / "out/.unfinished.json").is_file()
    (cines / "out/.0a1b2c3d.b").mkdir()
    assert run({"levels": 3, "mlflow": False}) == ["b"] and "1 cases were finished" in capsys.readouterr().out
    assert not [p for p in (cines / "out").iterdir() if p.name.startswith(".")]
    rows = (cines / "out/metrics.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["case", "a", "b"]
    assert run({"levels": 3}) == ["a", "b"], "a list that was done is done again"
    assert run({"levels": 3}, "b") == ["a", "stopped"]
    assert run({"levels": 4}, "b") == ["a", "stopped"], "with other settings"
    os.utime(next(cines.glob("a*.nii*")), (1, 1))
    assert run({"levels": 4}) == ["a", "b"], "with another input"
    monkeypatch.setattr("cardiac_motion.core.run_settings._noted", [])


def test_a_read_only_folder_is_noticed_before_anything_is_computed(cines, monkeypatch):
    monkeypatch.setattr(way, "reconstruction_scores", lambda *_: pytest.fail("computed"))
    engine = evaluator(cines, "a")
    engine.output_dir = Path("/proc/out")
    with pytest.raises(InputError, match="/proc/out: cannot be written"):
        engine.run()


def test_a_device_that_is_not_there(cines, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device cuda"):
        evaluator(cines, "a", device="cuda")
