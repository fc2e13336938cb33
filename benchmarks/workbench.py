"""Seconds from the release of a handle to the new curve, in headless Chromium, on a cine of 480 × 640 × 50.

The cine is the one that ships with pydicom, resized and played forward and back, so that it holds a whole beat. Beside
the seconds stand those of a processor that the worker took: on a machine that others use too, these count.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.workbench.person import drag, only_this_machine, show_frame
from tests.workbench.serving import Workbench, there_and_back

SIZE, FRAMES, RELEASES = (480, 640), 50, 15


def run() -> dict[str, Any]:
    """Median, 90th percentile and longest of the seconds, and the median of the processor's."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place:
        path = there_and_back(Path(place) / "cine.nii.gz", FRAMES, SIZE)
        bench = Workbench(place)
        try:
            found = bench.json("POST", "/api/uploads?name=cine.nii.gz", path.read_bytes())[1]["id"]
            case = bench.case(found, lambda c: c["status"] in ("measured", "failed") and not c["progress"], 3000)
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                only_this_machine(page, bench, [])
                page.goto(bench.address)
                page.click(".case")
                page.wait_for_selector("#gls")
                show_frame(page, case["results"]["cpwc"]["beats"][0]["ed"])
                processor = []
                for k in range(RELEASES + 1):
                    before = processor_seconds(bench.process.pid)
                    drag(page, 1 + k % 5, 6 if k % 2 else -6)
                    processor.append(processor_seconds(bench.process.pid) - before)
                times = np.array(page.evaluate("workbench.times"))[1:] / 1000  # the first finds nothing in memory
                browser.close()
        finally:
            bench.stop()
    return {
        "size": [*SIZE, FRAMES],
        "releases": len(times),
        "seconds": {name: round(float(np.percentile(times, p)), 3) for name, p in
                    (("median", 50), ("90th percentile", 90), ("longest", 100))},
        "processor seconds, median": round(float(np.median(processor[1:])), 3),
        "load average of the machine": [round(n, 1) for n in os.getloadavg()],
    }  # fmt: skip


def processor_seconds(server: int) -> float:
    """Of a server and its processes so far."""
    processes = [psutil.Process(server), *psutil.Process(server).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)
