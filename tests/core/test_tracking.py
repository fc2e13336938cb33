"""The one MLflow writer: everything once in every store, whatever was lost on the way."""

import ast
import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from cardiac_motion.core import tracking
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tracking import Record, keep, metric_name, read_records, record_id, rows_of, run_name, send
from tests.bundles.running import ROOT, run_module_here

CASES = {f"c{i}": {"mse": i / 8, "lncc2@1/2": float("nan") if i == 1 else 0.5} for i in range(6)}


def record(own="1f", cases=CASES, **more):
    parts = {name: rows_of(metrics, step, "cases") for step, (name, metrics) in enumerate(cases.items())}
    known = {"id": own, "experiment": "cines", "name": "six · m · fast", "params": {"levels": 3, "none": None}}
    known |= {
        "parts": parts,
        "metrics": {"mse": 0.25},
        "step": len(cases),
        "files": ["a/b.txt"],
        "tags": {"method": "m"},
    }
    return Record(**known | {"tags": {"method": "m"}, "started": 1000, "ended": 9000} | more)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/b.txt").write_text("file", encoding="utf-8")
    return tmp_path / "out"


@pytest.fixture
def stores(empty_store, tmp_path):
    """Two empty stores in the test's folder, ``a`` and ``b``."""
    for name in "ab":
        shutil.copy(empty_store, tmp_path / f"{name}.db")


def use(monkeypatch, tmp_path, name):
    store = f"sqlite:///{tmp_path}/{name}.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return MlflowClient(store)


def check(client, children=0):
    """The store has the record, and nothing twice."""
    runs = client.search_runs([client.get_experiment_by_name("cines").experiment_id])
    (run,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert len(runs) == 1 + children
    assert (run.info.run_name, run.info.status) == ("six · m · fast", "FINISHED")
    assert run.data.params == {"levels": "3"} and run.data.tags["method"] == "m"
    assert (run.info.start_time, run.info.end_time) == (1000, 9000), "the duration is the work's, not the sending's"
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    assert sorted((m.step, m.value) for m in history["cases/mse"]) == [(i, i / 8) for i in range(6)]
    assert len(history["cases/scales/lncc2_at_1_2"]) == 5, "what is not finite is left out"
    assert [(m.step, m.value) for m in history["mse"]] == [(6, 0.25)]
    assert [f.path for f in client.list_artifacts(run.info.run_id, "a")] == ["a/b.txt"]
    return run


def test_two_stores_in_turn_get_everything_once(folder, stores, tmp_path, monkeypatch):
    clients = [use(monkeypatch, tmp_path, name) for name in "ab"]
    some = dict(list(CASES.items())[:2])
    for name, cases in (("a", some), ("b", CASES), ("a", CASES), ("b", CASES), ("a", CASES)):
        use(monkeypatch, tmp_path, name)
        send(folder, record(cases=cases), last=len(cases) == 6)
    for client in clients:
        check(client)


@pytest.mark.parametrize("answers", [False, True], ids=["before it takes it", "after it took it"])
def test_a_store_that_dies_at_every_call_in_turn_has_one_run_in_the_end(folder, stores, tmp_path, monkeypatch, answers):
    client = use(monkeypatch, tmp_path, "a")
    monkeypatch.setattr(tracking, "BATCH", 4)
    dead = set()
    for name in ("create_experiment", "create_run", "log_batch", "log_artifact", "set_tag", "set_terminated"):
        original = getattr(MlflowClient, name)

        def broken(*args, original=original, name=name, **kwargs):
            call = (name, str(args[1:]), str(kwargs))
            if call in dead:
                return original(*args, **kwargs)
            dead.add(call)
            if answers:
                original(*args, **kwargs)
            raise ConnectionError("died")

        monkeypatch.setattr(MlflowClient, name, broken)
    child = Record("1f-c", "cines", "child", metrics={"mse": 1.0})
    failures = 0
    for _ in range(60):
        try:
            run = send(folder, record(children=[child]))
            break
        except InputError as error:
            assert "took no record (died)" in str(error)
            failures += 1
    assert failures > 10
    assert check(client, children=1).info.run_id == run


def test_what_was_sent_and_forgotten_is_no_second_run(folder, stores, tmp_path, monkeypatch):
    client = use(monkeypatch, tmp_path, "a")
    send(folder, record())
    (folder / tracking.SENT).unlink()
    send(folder, record())
    (folder / tracking.SENT).write_text('{"stores"', encoding="utf-8")
    send(folder, record())
    check(client)


def test_a_store_that_was_thrown_away_gets_everything_again(folder, stores, tmp_path, monkeypatch):
    use(monkeypatch, tmp_path, "a")
    send(folder, record())
    state = json.loads((folder / tracking.SENT).read_text(encoding="utf-8"))
    (own,) = state["stores"].values()
    own["1f"]["run"] = "0" * 32
    (folder / tracking.SENT).write_text(json.dumps(state), encoding="utf-8")
    check(use(monkeypatch, tmp_path, "a"))


def test_a_later_run_takes_another_parameter_without_failing(folder, stores, tmp_path, monkeypatch):
    client = use(monkeypatch, tmp_path, "a")
    send(folder, record(), last=False)
    later = record()
    later.params["levels"] = 4
    send(folder, later)
    check(client)


def test_what_no_store_took_is_sent_by_a_command(folder, stores, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert not tracking.send_or_keep(folder, record())
    assert not tracking.send_or_keep(folder, record("2f", name="second"))
    assert [kept.id for kept in read_records(folder)] == ["1f", "2f"], "the second run doesn't cost the first's record"
    client = use(monkeypatch, tmp_path, "a")
    for _ in range(2):
        done = run_module_here("cardiac_motion.core.tracking", str(folder))
        assert done.stdout.splitlines()[0].startswith("six · m · fast: sent as run ")
    runs = client.search_runs([client.get_experiment_by_name("cines").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["second", "six · m · fast"]
    keep(folder, record("3f"))
    assert [kept.id for kept in read_records(folder)] == ["3f"], "what a store has is kept no longer"


def test_nothing_kept_is_one_line(tmp_path):
    done = run_module_here("cardiac_motion.core.tracking", str(tmp_path))
    assert done.returncode == 1 and "no such file" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_default_store_is_below_the_current_folder_whatever_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    here = tmp_path / "a #1 $x 100% ü"
    here.mkdir()
    monkeypatch.chdir(here)
    send(folder, record())
    check(MlflowClient(tracking.tracking_store()))
    assert (here / "output/mlruns.db").is_file() and list((here / "output/mlartifacts").rglob("b.txt"))
    assert tracking.viewing_command() == "python -m mlflow ui --backend-store-uri sqlite:///output/mlruns.db"


def test_a_folder_has_one_id_until_a_new_one_is_drawn(tmp_path):
    first = record_id(tmp_path)
    assert record_id(tmp_path) == first != record_id(tmp_path, new=True)


@pytest.mark.parametrize(
    "parts, name",
    [
        (("nmsr_echo", "fast", "a4c"), "nmsr_echo · fast · a4c"),
        (("farneback", "farneback", "a4c"), "farneback · a4c"),
        (("cpwc_echo", "", "a4c"), "cpwc_echo · a4c"),
    ],
)
def test_the_name_of_a_run(parts, name):
    assert run_name(*parts) == name


@pytest.mark.parametrize(
    "column, name",
    [("mse", "mse"), ("mse@1/8", "scales/mse_at_1_8"), ("cases/mse", "cases/mse"), ("a+b", "a_b")],
)
def test_the_name_of_a_metric(column, name):
    assert metric_name(column) == name


def test_one_module_alone_imports_mlflow():
    importing = set()
    for path in [p for part in ("common", "apps", "benchmarks") for p in (ROOT / part).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importing.add(path.relative_to(ROOT))
    assert importing == {Path("common/cardiac_motion/core/tracking.py")}
