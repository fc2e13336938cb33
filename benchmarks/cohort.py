"""Cohorts: two workers against one, the overhead of a case, memory over 2,000 cases, kills, and what a case costs.

Ratios and processor seconds count; the clock's seconds are lengthened by other work on the machine. ``python -m
benchmarks.cohort PART …`` runs some of ``speed``, ``overhead``, ``memory``, ``bundle_memory``, ``kills``,
``mlflow`` and ``cost``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import nibabel
import numpy as np
import psutil

from common.cases import demo_cine
from common.cine import write_cine
from common.cohort import bundle, cluster
from common.cohort.engine import run_cases
from common.cohort.runner import Limits, Work
from common.phantom import phantom
from tests.cohort.work import names, work
from tests.conftest import moving_cine

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
CASES = 40
MANY = 2000
EVERY = 50  # cases between two looks at the memory
CINE = {"farneback": [], "fft_xcorr": [], "nmsr_echo": ["motion.json"], "ants_syn": ["cine.json"]}
VOLUME = {"voxelmorph": [], "neurreg": [], "niftyreg": [], "ssmsr_hippocampus": []}


def speed() -> dict[str, float]:
    """Cases a second of two workers over one: cases that compute for 0.2 s, and cases that wait as long."""
    found = {}
    for kind in ("cpu_seconds", "seconds"):
        rates = []
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder, cluster.local(workers, [], 2**30) as client:
                start: list[float] = []
                run_cases(
                    work(folder, **{kind: 0.2}), names(CASES + workers), client, Limits(),
                    seen=lambda _, start=start: start.append(time.perf_counter()),
                )  # fmt: skip
                rates.append(CASES / (start[-1] - start[workers - 1]))  # the first ones start the processes
        name = "computing" if kind == "cpu_seconds" else "waiting"
        found |= {f"{name}_cases_per_s": round(rates[1], 2), f"{name}_two_over_one": round(rates[1] / rates[0], 2)}
    return found


def overhead() -> dict[str, float]:
    """Milliseconds a case beyond the case itself: on the clock, and processor time of driver and Dask's worker."""
    count = 200
    with tempfile.TemporaryDirectory() as folder, cluster.local(1, [], 2**30) as client:
        run_cases(work(folder), names(5), client)
        dask = psutil.Process(next(iter(client.run(os.getpid).values())))
        cpu, start = sum(dask.cpu_times()[:2]) + time.process_time(), time.perf_counter()
        found = run_cases(work(folder), names(count), client)
        taken = time.perf_counter() - start
        cpu = sum(dask.cpu_times()[:2]) + time.process_time() - cpu
    begun = min(o["time"] for o in found.values()) - found[names(count)[5]]["seconds"]
    steady = max(o["time"] for o in found.values()) - begun
    own = sum(o["seconds"] for o in found.values())
    return {
        "ms_a_case": round(1000 * (steady - own) / (count - 6), 2),
        "cpu_ms_a_case": round(1000 * cpu / (count - 5), 2),
        "start_of_a_process_s": round(taken - steady, 2),
    }


def tiny_list(folder: Path, count: int) -> Path:
    """A datalist of cines of 4 frames of 64 × 64 pixels; returns it."""
    cine, _ = moving_cine(4, (64, 64))
    write_cine(folder / "cine.nii.gz", cine[None])
    entries = [{"image": "cine.nii.gz", "case": name} for name in names(count)]
    (folder / "list.json").write_text(json.dumps({"test": entries}))
    return folder / "list.json"


def memory() -> dict[str, Any]:
    """Resident memory of all processes over 2,000 cases that only write; ``docs/images/cohort_memory.png``."""
    with tempfile.TemporaryDirectory() as text:
        return resident(work(text), "cohort_memory")


def bundle_memory() -> dict[str, Any]:
    """The same over 2,000 cines of ``farneback``; ``docs/images/cohort_memory_farneback.png``."""
    with tempfile.TemporaryDirectory() as text:
        options = {"datalist": str(tiny_list(Path(text), MANY)), "dataset_dir": text, "output_dir": f"{text}/out"}
        Path(text, "out").mkdir()
        files = bundle.config_files(ROOT / "bundles/farneback", evaluate=True)
        return resident(bundle.bundle_work(files, options), "cohort_memory_farneback")


def resident(doing: Work, picture: str) -> dict[str, Any]:
    """MiB of the driver, of a Dask worker and of a process of cases over a run, and their growth in its second half."""
    rows: list[tuple[int, float, float, float]] = []
    count = 0

    def look(_: object) -> None:
        nonlocal count
        count += 1
        if count % EVERY == 0:
            mine = psutil.Process()
            kinds = {True: [0.0], False: [0.0]}
            for process in mine.children(recursive=True):
                if "resource_tracker" not in " ".join(process.cmdline()):
                    kinds["common.cohort.process" in process.cmdline()].append(process.memory_info().rss / 2**20)
            rows.append((count, mine.memory_info().rss / 2**20, max(kinds[False]), max(kinds[True])))

    with cluster.local(2, [], 2**31) as client:
        start = time.perf_counter()
        run_cases(doing, names(MANY), client, Limits(), seen=look)
        taken = time.perf_counter() - start
    table = np.array(rows)
    half = len(table) // 2
    figure, axis = plt.subplots(figsize=(6, 3))
    found: dict[str, Any] = {"cases": MANY, "cases_per_s": round(MANY / taken, 2)}
    for i, name in enumerate(("driver", "dask_worker", "process_of_cases"), 1):
        axis.plot(table[:, 0], table[:, i], label=name.replace("_", " "))
        growth = np.polyfit(table[half:, 0], table[half:, i], 1)[0] * 1000
        found[name] = {"MiB_at_half": round(table[half, i], 1), "MiB_at_end": round(table[-1, i], 1)}
        found[name]["MiB_a_1000_cases"] = round(growth, 2)
    axis.set_xlabel("cases done")
    axis.set_ylabel("resident memory, MiB")
    axis.set_ylim(0)
    axis.legend()
    figure.tight_layout()
    figure.savefig(ROOT / f"docs/images/{picture}.png", dpi=110)
    plt.close(figure)
    return found


def kills() -> dict[str, Any]:
    """A run whose driver, workers and processes are killed at random against an undisturbed one: the same outputs."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        tiny_list(folder, CASES)
        command = [sys.executable, "-m", "common.cohort", "--bundle", "farneback", "--evaluate", "--fields", "True",
                   "--datalist", f"{text}/list.json", "--dataset_dir", text, "--mlflow", "False"]  # fmt: skip
        subprocess.run([*command, "--output_dir", f"{text}/calm"], cwd=ROOT, check=True, capture_output=True)
        killed = {"driver": 0, "worker": 0, "process": 0}
        while True:
            run = subprocess.Popen(
                [*command, "--output_dir", f"{text}/out"],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            before, driver = time.monotonic(), psutil.Process(run.pid)
            while run.poll() is None:
                time.sleep(chance.uniform(0.5, 3))
                done = len(list(Path(text, "out").glob("case*/summary.json")))
                below = [p for p in driver.children(recursive=True) if p.is_running()] if run.poll() is None else []
                own = [p for p in below if "common.cohort.process" in p.cmdline()]
                if done < CASES and own and min(killed.values()) < 3:
                    kind = min(killed, key=lambda k: killed[k])
                    target = {"driver": driver, "worker": own[0].parent(), "process": own[-1]}[kind]
                    if target is not None:
                        target.send_signal(signal.SIGKILL)
                        killed[kind] += 1
            if run.returncode == 0 or time.monotonic() - before > 600:
                break
        same = all(
            (Path(text, "out", name, "ddf.nii.gz").read_bytes() == Path(text, "calm", name, "ddf.nii.gz").read_bytes())
            for name in names(CASES)
        )
        half = [p.name for p in Path(text, "out").iterdir() if p.name.startswith(".")]
        twice = [row for row in Path(text, "out/cases.jsonl").read_text().splitlines() if '"done"' in row]
    return {"killed": killed, "fields_equal": same, "half_written": half, "cases_done": len(twice), "cases": CASES}


def mlflow() -> dict[str, float]:
    """Cases a second that the record takes, into SQLite."""
    from common.cohort.record import send

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "cohort.json").write_text(json.dumps({"bundle": "b", "id": "1", "cases": names(MANY)}))
        for name in names(MANY):
            (folder / name).mkdir()
            metrics = {f"metric_{i}": float(i) for i in range(12)}
            (folder / name / "summary.json").write_text(json.dumps({"metrics": metrics}))
        send(folder, [], last=False)  # makes the store
        start, cpu = time.perf_counter(), time.process_time()
        send(folder, last=False)
        taken, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"cases_per_s": round(MANY / taken, 1), "cpu_ms_a_case": round(1000 * cpu / MANY, 2)}


def cost() -> dict[str, Any]:
    """What a case takes of each bundle: processor seconds, memory, bytes; a real cine (30 × 240 × 320) or a volume.

    A second case is measured, so that what a process does once is not counted.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cines = {"test": [{"image": demo_cine(), "case": name} for name in ("first", "second")]}
        (folder / "cines.json").write_text(json.dumps(cines))
        volumes: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
        for i in range(10):
            for kind, values in zip(("image", "label"), phantom(i), strict=True):
                nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{kind}{i}.nii.gz")
            entry = {"image": f"image{i}.nii.gz", "label": f"label{i}.nii.gz"}
            volumes["training" if i < 8 else "validation"].append(entry)
        (folder / "volumes.json").write_text(json.dumps(volumes))
        for name, further in (CINE | VOLUME).items():
            files = bundle.config_files(ROOT / "bundles" / name, further=further)
            options = {"datalist": f"{text}/{'cines' if name in CINE else 'volumes'}.json", "dataset_dir": text,
                       "output_dir": f"{text}/{name}", **({} if name in CINE else {"labelled": True})}  # fmt: skip
            (folder / name).mkdir()
            done = run_cases(bundle.bundle_work(files, options), bundle.case_names(bundle.parsed(files, options)))
            second = list(done.values())[-1]
            size = sum(f.stat().st_size for f in (folder / name / second["case"]).glob("*"))
            found[name] = {
                "status": second["status"],
                "cpu_s": round(second["cpu_seconds"], 2),
                "memory_MiB": round(second["memory"] / 2**20),
                "written_MB": round(size / 1e6, 2),
            }
            print(f"  {name}: {found[name]}", flush=True)
    return found


PARTS = {part.__name__: part for part in (speed, overhead, memory, bundle_memory, kills, mlflow, cost)}


def run(parts: list[str] | None = None) -> dict[str, Any]:
    """The numbers of the parts."""
    found = {name: PARTS[name]() for name in parts or PARTS}
    found["children_cpu_s"] = round(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), 1)
    return found


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:]), indent=1))
