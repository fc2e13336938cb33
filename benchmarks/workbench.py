"""Seconds that a person waits for in the workbench, in headless Chromium: 480 × 640 × 50 and 472 × 648 × 100.

The cine is the one that ships with pydicom, resized and played forward and back, so that it holds a whole beat. Timed
are a dropped file to its first curve, a preview by DIS; then, with its fields, a released handle to the estimated curve
and to the measured one, a change of layer, and undo and redo (the measurement by the default method, which takes
minutes, is cancelled). Beside the seconds stand those of a processor that the server's processes took: on a machine
that others use too, these count.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.workbench.person import drag, only_this_machine, show_frame
from tests.workbench.serving import Workbench, there_and_back

CINES, RELEASES = (((480, 640), 50), ((472, 648), 100)), 10
WAIT = 3_000_000  # ms


def run() -> dict[str, Any]:
    """Seconds, and processor seconds, of what a person waits for."""
    found = {f"{size[0]} x {size[1]} x {frames}": time_cine(size, frames) for size, frames in CINES}
    return {"releases": RELEASES, "cores of the machine": os.cpu_count(), **found}


def time_cine(size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Of one cine, with a workbench of its own."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place:
        path = there_and_back(Path(place) / "cine.nii.gz", frames, size)
        bench = Workbench(place)
        try:
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                only_this_machine(page, bench, [])
                page.goto(bench.address)
                page.wait_for_function("() => workbench.state.settings")
                time.sleep(30)  # the processes are ready
                found = time_waiting(page, bench, path)
                browser.close()
        finally:
            bench.stop()
    return {**found, "load average of the machine": [round(n, 1) for n in os.getloadavg()]}


def time_waiting(page: Any, bench: Workbench, path: Path) -> dict[str, Any]:
    """What a page waits for, with a cine that is dropped onto it."""
    start, before = time.perf_counter(), processor_seconds(bench.process.pid)

    def passed() -> dict[str, float]:
        return {"seconds": round(time.perf_counter() - start, 2),
                "processor seconds": round(processor_seconds(bench.process.pid) - before, 2)}  # fmt: skip

    page.set_input_files("#files", path)
    page.wait_for_selector("#gls", timeout=WAIT)
    first = passed()
    name = page.evaluate("() => workbench.state.info.id")
    bench.ask("POST", f"/api/cases/{name}/cancel", b"{}")
    page.wait_for_function("() => !workbench.state.info.doing && !workbench.state.info.progress", timeout=WAIT)
    show_frame(page, int(page.input_value("#ed")))

    def release(k: int) -> None:
        drag(page, 1 + k % 5, 6 if k % 2 else -6)

    def turn(what: str) -> Callable[[int], None]:
        def press(_: int) -> None:
            revision = page.evaluate("() => workbench.state.info.revision")
            page.click(f"#{what}")
            page.wait_for_function(f"() => workbench.state.info.revision > {revision} && !workbench.state.busy")

        return press

    def layer(k: int) -> None:
        revision = page.evaluate("() => workbench.state.info.revision")
        page.select_option("#layer", ("mid-wall", "epicardium", "endocardium")[k % 3])
        page.wait_for_function(f"() => workbench.state.info.revision > {revision} && !workbench.state.busy")

    release(0)  # the first finds nothing in memory
    beat = page.evaluate("() => workbench.state.result.beats[0]")
    released = repeat(bench, RELEASES, release)
    estimates = page.evaluate("() => workbench.estimates")[1:]
    return {
        "dropped to the first curve, by DIS": first, "frames of the beat": beat["end"] - beat["ed"] + 1,
        "release to estimated curve": name_percentiles([ms / 1000 for ms in estimates]),
        "release to measured curve": released, "layer to new curve": repeat(bench, 3, layer),
        "undo": repeat(bench, RELEASES, turn("undo")), "redo": repeat(bench, RELEASES, turn("redo")),
    }  # fmt: skip


def repeat(bench: Workbench, count: int, act: Callable[[int], None]) -> dict[str, float]:
    """Median, 90th percentile and longest of the seconds of some acts, and the median of the processor's."""
    seconds, processor = [], []
    for k in range(1, count + 1):
        start, before = time.perf_counter(), processor_seconds(bench.process.pid)
        act(k)
        seconds.append(time.perf_counter() - start)
        processor.append(processor_seconds(bench.process.pid) - before)
    return {**name_percentiles(seconds), "processor seconds, median": round(float(np.median(processor)), 3)}


def name_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile and longest."""
    return {name: round(float(np.percentile(seconds, p)), 3)
            for name, p in (("median", 50), ("90th percentile", 90), ("longest", 100))}  # fmt: skip


def processor_seconds(server: int) -> float:
    """Of a server and its processes so far."""
    processes = [psutil.Process(server), *psutil.Process(server).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)
