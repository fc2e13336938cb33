"""Threads on shared processors: independent pieces of work side by side, each on one thread.

PyTorch splits each operation among threads that wait for one another at its end, and OpenMP's wait is a loop. Where
other programs need the cores as well, one thread waits for another that is not running: a pair of frames through the
motion network took 7 to 13 times as much processor time with two threads as with one. Pieces that need nothing of each
other (a pair, a frame, a beat) never wait: ``map_workers`` gives each to one of several single-threaded workers, so
that two threads are no slower than one, and results don't depend on their number.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from torch import nn

T = TypeVar("T")
R = TypeVar("R")

WAIT_POLICY = "OMP_WAIT_POLICY"


def prefer_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the environment says otherwise; before PyTorch is loaded.

    Examples:
        >>> prefer_sleep()
        >>> os.environ["OMP_WAIT_POLICY"] != ""
        True
    """
    os.environ.setdefault(WAIT_POLICY, "passive")


def splits_well(network: nn.Module) -> bool:
    """Whether a network may run in several threads at once: it has weights, all of them on the CPU, and is evaluated.

    What has none may keep a state of its own, as OpenCV's methods do.

    Examples:
        >>> from torch import nn
        >>> splits_well(nn.Linear(2, 2).eval()), splits_well(nn.Identity().eval()), splits_well(nn.Linear(2, 2))
        (True, False, False)
    """
    weights = list(network.parameters())
    return not network.training and bool(weights) and all(weight.device.type == "cpu" for weight in weights)


@contextmanager
def use_one_thread() -> Iterator[int]:
    """PyTorch's operations run on one thread until the block ends; gives the number that they had before.

    Examples:
        >>> import torch
        >>> with use_one_thread():
        ...     torch.get_num_threads()
        1
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    _workers.append(max(before, _workers[-1] if _workers else 1))
    try:
        yield _workers[-1]
    finally:
        _workers.pop()
        torch.set_num_threads(before)


_workers: list[int] = []  # threads that were there before ``use_one_thread``, the innermost block's last


def count_workers() -> int:
    """How many workers ``map_workers`` has: the threads that PyTorch is given, ``OMP_NUM_THREADS`` or the cores.

    Examples:
        >>> count_workers() >= 1
        True
    """
    import torch

    return max(torch.get_num_threads(), _workers[-1] if _workers else 1)


def map_workers(function: Callable[[T], R], items: Iterable[T], split: bool = True) -> Iterator[R]:
    """``function`` of each item, in the items' order, some of them at a time, each on one thread.

    Whether gradients are recorded, and the progress bar of a case, are as in the calling thread. Results that are not
    taken yet are kept: two a worker at most.

    Args:
        function: needs nothing of what it gives for other items.
        items: taken one by one.
        split: whether to use workers; else one item after the other in the calling thread.

    Examples:
        >>> list(map_workers(lambda x: x * x, range(4)))
        [0, 1, 4, 9]
    """
    count = count_workers()
    if not split or count < 2:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    import torch

    with use_one_thread(), ThreadPoolExecutor(count, "worker", torch.set_num_threads, (1,)) as pool:
        recorded = torch.is_grad_enabled()

        def work(item: T) -> R:
            with torch.set_grad_enabled(recorded):
                return function(item)

        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(copy_context().run, work, item))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
