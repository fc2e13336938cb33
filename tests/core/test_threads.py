from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from cardiac_motion.core.threads import count_workers, map_workers, prefer_sleep, splits_well, use_one_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_items_order_from_several_threads(two_threads) -> None:
    met, seen = threading.Barrier(2, timeout=20), set()

    def square(x: int) -> int:
        if x < 2:
            met.wait()  # the first two are at work at the same time
        seen.add(threading.current_thread().name)
        return x * x

    assert list(map_workers(square, range(7))) == [x * x for x in range(7)]
    assert len(seen) == 2


def test_a_worker_has_one_thread_and_the_caller_its_own_again(two_threads) -> None:
    assert list(map_workers(lambda _: torch.get_num_threads(), range(3))) == [1, 1, 1]
    assert torch.get_num_threads() == 2


def test_gradients_are_recorded_as_in_the_calling_thread(two_threads) -> None:
    with torch.no_grad():
        assert list(map_workers(lambda _: torch.is_grad_enabled(), range(3))) == [False] * 3
    assert list(map_workers(lambda _: torch.is_grad_enabled(), range(3))) == [True] * 3


def test_an_error_of_a_worker_is_raised(two_threads) -> None:
    def fail(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    results = map_workers(fail, range(9))
    assert next(results) == 0
    with pytest.raises(ValueError, match="two"):
        list(results)
    assert torch.get_num_threads() == 2


def test_without_split_all_is_done_in_the_calling_thread(two_threads) -> None:
    names = map_workers(lambda _: threading.current_thread().name, range(3), split=False)
    assert set(names) == {threading.current_thread().name}


def test_results_that_nobody_takes_are_not_made(two_threads) -> None:
    asked = []

    def items():
        for x in range(100):
            asked.append(x)
            yield x

    results = map_workers(lambda x: x, items())
    next(results)
    results.close()
    assert len(asked) <= 6


def test_workers_are_as_many_as_threads_were_before_the_block(two_threads) -> None:
    with use_one_thread():
        assert torch.get_num_threads() == 1 and count_workers() == 2
        assert len(set(map_workers(lambda _: threading.get_ident(), range(40)))) <= 2
    assert torch.get_num_threads() == 2


def test_only_networks_with_weights_on_the_cpu_are_split() -> None:
    assert splits_well(nn.Conv2d(1, 1, 1).eval())
    assert not splits_well(nn.Conv2d(1, 1, 1))
    assert not splits_well(nn.ReLU().eval())
    assert not splits_well(nn.Conv2d(1, 1, 1, device="meta").eval())


def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(monkeypatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    prefer_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prefer_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_the_package_sets_that_before_pytorch_is_loaded() -> None:
    code = "import sys, os, cardiac_motion; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split() == ["False", "passive"]
