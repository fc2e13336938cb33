"""The options of a list of cases: where they run, and what each may take."""

import argparse
import os
from contextlib import nullcontext

import pytest

from cardiac_motion.cohort import cluster
from cardiac_motion.cohort.options import add_options, batch_system, machines
from cardiac_motion.cohort.runner import Limits
from cardiac_motion.core.errors import InputError


def parse(*words):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


@pytest.fixture
def started(monkeypatch):
    """What is asked of the cluster's functions."""
    calls = []
    for name in ("start_local", "connect", "submit_jobs"):
        monkeypatch.setattr(cluster, name, lambda *a, name=name: calls.append((name, *a)) or nullcontext(name))
    return calls


def test_what_holds_where_nothing_is_said(started, monkeypatch):
    monkeypatch.setattr(cluster, "plan", lambda workers, threads, gpu: (4, 2, ["7"] if gpu else []))
    where, limits = machines(parse(), gpu=True, cases=9)
    assert limits == Limits(seconds=14400, memory=0, retries=2, threads=2)
    assert started == [("start_local", 4, ["7"], 0, 2)]
    with where as client:
        assert client == "start_local"


def test_no_more_workers_than_cases(started):
    for cases, workers in ((3, 3), (20, 8), (0, 1)):
        machines(parse("--workers", "8"), gpu=False, cases=cases)
        assert started[-1][:3] == ("start_local", workers, [])


def test_limits_as_they_are_given(started):
    words = ["--memory_limit", "4GiB", "--time_limit", "0", "--retries", "5", "--threads", "3", "--workers", "1"]
    _, limits = machines(parse(*words), gpu=False, cases=1)
    assert limits == Limits(seconds=0, memory=4 * 2**30, retries=5, threads=3)
    assert started == [("start_local", 1, [], 4 * 2**30, 5)]
    with pytest.raises(InputError, match="much: not a size"):
        machines(parse("--memory_limit", "much"), gpu=False, cases=1)


def test_other_places(started):
    machines(parse("--scheduler", "tcp://one:1"), gpu=True, cases=1)
    machines(parse("--lsf", "jobs.yaml"), gpu=True, cases=1)
    assert started == [("connect", "tcp://one:1"), ("submit_jobs", "lsf", "jobs.yaml")]
    where, limits = machines(parse("--here", "--threads", "4"), gpu=True, cases=1)
    assert len(started) == 2 and limits.threads == 4
    with where as client:
        assert client is None


def test_one_place_alone():
    for words in (("--here", "--slurm", "a.yaml"), ("--slurm", "a.yaml", "--pbs", "b.yaml")):
        with pytest.raises(SystemExit):
            parse(*words)
    assert batch_system(parse("--pbs", "b.yaml")) == ("pbs", "b.yaml") and batch_system(parse()) is None


def test_a_system_without_process_groups_does_cases_here_alone(started, monkeypatch):
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(InputError, match="use --here to run cases one by one"):
        machines(parse(), gpu=False, cases=1)
    machines(parse("--here"), gpu=False, cases=1)
    assert not started


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "-3"), ("--threads", "1.5"), ("--retries", "few"), ("--time_limit", "-1"), ("--time_limit", "inf")],
)
def test_numbers_below_zero_are_refused(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(f"{option}={value}")
    assert ended.value.code == 2 and f"argument {option}: {value}: expected" in capsys.readouterr().err
