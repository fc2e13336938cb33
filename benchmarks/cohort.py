"""Cohorts: two workers against one, the overhead of a case, memory over 2,000 cases, kills, and what a case costs.

Ratios and processor seconds count; the clock's seconds are lengthened by other work on the machine. ``python -m
benchmarks.cohort PART …`` runs some of its parts; the others keep what they found last.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
import torch

from benchmarks.results import ROOT, read_kept, save
from cardiac_motion.bundle.config import config_files, parse_config
from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.cohort import bundle, cluster
from cardiac_motion.cohort.engine import run_cases
from cardiac_motion.cohort.runner import Limits, Work
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.plots import plt
from cardiac_motion.volume.phantom import phantom
from tests.cohort.server import TrackingServer
from tests.cohort.work import end, names, work
from tests.conftest import moving_cine

CASES = 40
MANY = 2000
EVERY = 50  # cases between two looks at the memory
KILLS = 3  # of each kind of process
FRAMES, SIZE = 50, 256  # of the cine whose cost is measured
PART = 8  # frames of it that the slow methods have; the cost of 7 pairs is told sevenfold
CINE: dict[str, tuple[str, list[str]]] = {
    "farneback": ("farneback", []),
    "fft_xcorr": ("fft_xcorr", []),
    "cpwc_echo": ("cpwc_echo", []),
    "strain_pipeline": ("strain_pipeline", []),
    "nmsr_echo, motion": ("nmsr_echo", ["motion.json"]),
    "nmsr_echo, fast": ("nmsr_echo", []),
    "niftyreg, cine": ("niftyreg", ["cine.json"]),
    "ants_syn, cine, quick": ("ants_syn", ["cine.json", "quick.json"]),
    "ants_syn, cine": ("ants_syn", ["cine.json"]),
}
QUICK = ("farneback", "cpwc_echo", "strain_pipeline")
VOLUME: dict[str, tuple[str, list[str]]] = {
    "voxelmorph": ("voxelmorph", []),
    "neurreg": ("neurreg", []),
    "ssmsr_hippocampus": ("ssmsr_hippocampus", []),
    "niftyreg": ("niftyreg", []),
    "ants_syn, quick": ("ants_syn", ["quick.json"]),
    "ants_syn": ("ants_syn", []),
}


def speed() -> dict[str, float]:
    """Cases a second of two workers over one: cases that compute for 0.2 s, and cases that wait as long."""
    found = {}
    for kind in ("cpu_seconds", "seconds"):
        rates = []
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder, cluster.start_local(workers, [], 2**30) as client:
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
    with tempfile.TemporaryDirectory() as folder, cluster.start_local(1, [], 2**30) as client:
        run_cases(work(folder), names(5), client)
        dask = psutil.Process(next(iter(client.run(os.getpid).values())))
        worker, driver, start = sum(dask.cpu_times()[:2]), time.process_time(), time.perf_counter()
        found = run_cases(work(folder), names(count), client)
        taken = time.perf_counter() - start
        worker, driver = sum(dask.cpu_times()[:2]) - worker, time.process_time() - driver
    begun = min(o["time"] for o in found.values()) - found[names(count)[5]]["seconds"]
    steady = max(o["time"] for o in found.values()) - begun
    own = sum(o["seconds"] for o in found.values())
    return {
        "ms_a_case": round(1000 * (steady - own) / (count - 6), 2),
        "driver_cpu_ms_a_case": round(1000 * driver / (count - 5), 2),
        "worker_cpu_ms_a_case": round(1000 * worker / (count - 5), 2),
        "start_of_a_process_s": round(taken - steady, 2),
    }


def cine_list(folder: Path, count: int, frames: int = 4, size: int = 64) -> Path:
    """A datalist of one cine many times; returns it."""
    cine, _ = moving_cine(frames, (size, size))
    write_cine(folder / "cine.nii.gz", cine[None])
    entries = [{"image": "cine.nii.gz", "case": name} for name in names(count)]
    (folder / "list.json").write_text(json.dumps({"test": entries}), encoding="utf-8")
    return folder / "list.json"


def memory() -> dict[str, Any]:
    """Resident memory of all processes over 2,000 cases that only write; ``docs/images/cohort_memory.png``."""
    with tempfile.TemporaryDirectory() as text:
        return resident_memory(work(text), "cohort_memory")


def bundle_memory() -> dict[str, Any]:
    """The same over 2,000 cines of 4 × 64 × 64 pixels by ``farneback``; ``docs/images/cohort_memory_farneback.png``."""
    with tempfile.TemporaryDirectory() as text:
        options = {"datalist": str(cine_list(Path(text), MANY)), "dataset_dir": text, "output_dir": f"{text}/out"}
        Path(text, "out").mkdir()
        files = config_files(ROOT / "bundles/farneback", evaluate=True)
        return resident_memory(bundle.bundle_work(files, options), "cohort_memory_farneback")


def resident_memory(doing: Work, picture: str) -> dict[str, Any]:
    """MiB of the driver, of a Dask worker and of a process of cases over a run, and their growth in its second half."""
    rows: list[tuple[int, float, float, float]] = []
    count = 0

    def sample_memory(_: object) -> None:
        nonlocal count
        count += 1
        if count % EVERY == 0:
            mine = psutil.Process()
            kinds = {True: [0.0], False: [0.0]}
            for process in mine.children(recursive=True):
                if "resource_tracker" not in " ".join(process.cmdline()):
                    kinds["cardiac_motion.cohort.process" in process.cmdline()].append(
                        process.memory_info().rss / 2**20
                    )
            rows.append((count, mine.memory_info().rss / 2**20, max(kinds[False]), max(kinds[True])))

    with cluster.start_local(2, [], 2**31) as client:
        start = time.perf_counter()
        run_cases(doing, names(MANY), client, Limits(), seen=sample_memory)
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


def command(folder: Path, *more: str) -> list[str]:
    """A run over the cines of ``folder``."""
    return [sys.executable, "-m", "cardiac_motion.cohort", "--bundle", "farneback", "--save_fields", "True",
            "--save_figures", "False", "--datalist", f"{folder}/list.json", "--dataset_dir", str(folder),
            *more]  # fmt: skip


@contextmanager
def start_cluster(folder: Path) -> Iterator[tuple[psutil.Process, list[str]]]:
    """A scheduler and a worker of two threads; gives the scheduler and what names it on the command line."""
    begun: list[subprocess.Popen[bytes]] = []
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    for words in (["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], ["worker", "--nthreads", "2"]):
        program = [sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:], "--scheduler-file", str(file)]
        begun.append(subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL))
    try:
        while not (file.is_file() and file.read_text(encoding="utf-8")):
            time.sleep(0.1)
        yield psutil.Process(begun[0].pid), ["--scheduler", json.loads(file.read_text(encoding="utf-8"))["address"]]
    finally:
        end(begun)


def run_disturbed(folder: Path, out: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """A run that is killed, each kind of process ``KILLS`` times in the middle of cases, and started again."""
    chance, killed, starts, ends = random.Random(0), dict.fromkeys(kinds, 0), 0, []
    writing = 0
    while starts < 30:
        starts += 1
        place = start_cluster(folder) if "scheduler" in kinds else nullcontext((None, []))
        with place as (scheduler, where), tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            run = subprocess.Popen(
                command(folder, "--output_dir", str(out), "--mlflow", "False", *where),
                cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
            driver, before = psutil.Process(run.pid), len(list(out.glob("case*/summary.json")))
            while run.poll() is None:
                time.sleep(0.05)
                done = len(list(out.glob("case*/summary.json")))
                if done == before or done > CASES - 3 or min(killed.values()) == KILLS:
                    continue
                time.sleep(chance.uniform(0, 1))
                kind = min(killed, key=lambda kind: killed[kind])
                parent = driver if scheduler is None else psutil.Process()
                own = [p for p in parent.children(recursive=True) if "cardiac_motion.cohort.process" in p.cmdline()]
                if own and run.poll() is None:
                    writing += any(out.glob(".????????.case*"))
                    target = {"driver": driver, "worker": own[0].parent(), "process": own[-1], "scheduler": scheduler}
                    target[kind].kill()
                    killed[kind] += 1
                    before = len(list(out.glob("case*/summary.json")))
            ends.append(str(run.wait()))
            if run.returncode > 0:
                said.seek(0)
                ends[-1] += f": {said.read().splitlines()[-1]}"
        if run.returncode == 0:
            break
    return {"killed": killed, "while_files_were_written": writing, "exit_codes": ends}


def kills() -> dict[str, Any]:
    """Runs that are killed at random against an undisturbed one: the same outputs, nothing twice, nothing half."""
    found: dict[str, Any] = {"cases": CASES}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cine_list(folder, CASES, 20, 256)
        calm = folder / "calm"
        words = command(folder, "--output_dir", str(calm), "--mlflow", "False")
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
        for name, kinds in (("on_this_machine", ("driver", "worker", "process")), ("on_a_scheduler", ("scheduler",))):
            out = folder / name
            found[name] = run_disturbed(folder, out, kinds)
            rows = [json.loads(row) for row in (out / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
            fields = [(out / case / "ddf.nii.gz", calm / case / "ddf.nii.gz") for case in names(CASES)]
            found[name] |= {
                "fields_equal": all(one.read_bytes() == other.read_bytes() for one, other in fields),
                "files_equal": {str(f.relative_to(out)) for f in out.rglob("*")}
                == {str(f.relative_to(calm)) for f in calm.rglob("*")},
                "done_twice": len(rows) - len({row["case"] for row in rows if row["status"] in ("done", "found")}),
            }
    return found


def mlflow() -> dict[str, Any]:
    """Cases a second that the record takes into SQLite, and a run whose server is killed and comes back."""
    return {"sqlite": record_rate(), "server": server()}


def record_rate() -> dict[str, float]:
    """Cases a second that the record takes, into SQLite."""
    from cardiac_motion.cohort.journal import send

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "cohort.json").write_text(
            json.dumps({"bundle": "b", "id": "1", "cases": names(MANY)}), encoding="utf-8"
        )
        for name in names(MANY):
            (folder / name).mkdir()
            metrics = {f"metric_{i}": float(i) for i in range(12)}
            (folder / name / "summary.json").write_text(json.dumps({"metrics": metrics}), encoding="utf-8")
        send(folder, [], last=False)  # makes the store
        start, cpu = time.perf_counter(), time.process_time()
        send(folder, last=False)
        taken, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"cases_per_s": round(MANY / taken, 1), "cpu_ms_a_case": round(1000 * cpu / MANY, 2)}


def server() -> dict[str, Any]:
    """A run whose MLflow server is killed after a quarter of the cases, and is back after another: what it has."""
    with tempfile.TemporaryDirectory() as text:
        folder, out = Path(text), Path(text) / "out"
        cine_list(folder, CASES, 20, 256)
        with TrackingServer(folder) as store:
            run = subprocess.Popen(
                command(folder, "--output_dir", str(out)), cwd=ROOT, stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, env={**os.environ, "MLFLOW_TRACKING_URI": store.uri},
            )  # fmt: skip
            known = []
            for part, act in ((CASES // 4, store.kill), (CASES // 2, store.start)):
                while len(list(out.glob("case*/summary.json"))) < part and run.poll() is None:
                    time.sleep(0.05)
                known.append(run.poll() is None)
                act()
            code = run.wait()
            runs = store.runs("cines")
            steps = [metric.step for metric in store.client().get_metric_history(runs[0].info.run_id, "cases/mse")]
            files = [file.path for file in store.client().list_artifacts(runs[0].info.run_id)]
    return {
        "exit_code": code,
        "killed_and_started_while_it_ran": all(known),
        "runs": len(runs),
        "status": runs[0].info.status,
        "cases": len(set(steps)),
        "twice": len(steps) - len(set(steps)),
        "files": sorted(files),
    }


def cost_cine(folder: Path) -> None:
    """Write datalists of the built-in cine, cropped to ``SIZE`` and played forwards and backwards.

    One has two frames, for warming up, and ``FRAMES``; the other ``PART`` of them.
    """
    cine = read_cine(demo_cine()).as_tensor()
    edge = (cine.shape[3] - SIZE) // 2
    cine = torch.nn.functional.pad(cine[..., edge : edge + SIZE], (0, 0, 0, SIZE - cine.shape[2]))
    cine = torch.cat([cine, cine.flip(1)[:, 1:]], 1)
    for frames in (2, PART, FRAMES):
        write_cine(folder / f"cine{frames}.nii.gz", cine[:, :frames])
        entries = [f"cine{number}.nii.gz" for number in (2, frames)]
        (folder / f"cines{frames}.json").write_text(json.dumps({"test": entries}), encoding="utf-8")


def cost_volumes(folder: Path) -> Path:
    """A list of two volumes to segment: of Task04 where ``DATA_DIR`` has it, else synthetic; returns its folder."""
    data = Path(os.environ.get("DATA_DIR", "")) / "Task04_Hippocampus"
    if data.is_dir():
        volumes = json.loads((ROOT / "data_lists/hippocampus.json").read_text(encoding="utf-8"))
        volumes["validation"] = volumes["validation"][:2]
    else:
        data, volumes = folder, {"training": [], "validation": []}
        for i in range(24):
            for kind, values in zip(("image", "label"), phantom(i), strict=True):
                nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{kind}{i}.nii.gz")
            entry = {"image": f"image{i}.nii.gz", "label": f"label{i}.nii.gz"}
            volumes["training" if i < 22 else "validation"].append(entry)
    (folder / "volumes.json").write_text(json.dumps(volumes), encoding="utf-8")
    return data


def cost() -> dict[str, Any]:
    """What a case takes of each bundle: processor seconds, memory, bytes; a real cine (50 × 256 × 256) or a volume.

    The second of two cases is measured, so that what a process does once is not counted.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as text, cluster.start_local(1, [], 2**33) as client:
        folder = Path(text)
        cost_cine(folder)
        data = cost_volumes(folder)
        for title, (name, further) in (CINE | VOLUME).items():
            files = config_files(ROOT / "bundles" / name, further=further)
            frames = FRAMES if title in QUICK else PART
            times = (FRAMES - 1) / (frames - 1) if title in CINE else 1
            where = (f"cines{frames}", folder) if title in CINE else ("volumes", data)
            options = {"datalist": f"{text}/{where[0]}.json", "dataset_dir": str(where[1]),
                       "output_dir": f"{text}/{title}"}  # fmt: skip
            (folder / title).mkdir()
            cases = list(bundle.case_names(parse_config(files, options)).values())
            done = run_cases(bundle.bundle_work(files, options), cases, client)[cases[-1]]
            size = sum(f.stat().st_size for f in (folder / title / cases[-1]).glob("*"))
            found[title] = {
                "status": done["status"],
                "cpu_s": round(done["cpu_seconds"] * times, 1),
                "memory_MiB": round(done["memory"] / 2**20),
                "written_MB": round(size * times / 1e6, 2),
            }
            print(f"  {title}: {found[title]}", flush=True)
    return found


PARTS = {part.__name__: part for part in (speed, overhead, memory, bundle_memory, kills, mlflow, cost)}


def run(parts: Sequence[str] = ()) -> dict[str, Any]:
    """The numbers of the parts; of all where none is named."""
    return {name: PARTS[name]() for name in parts or PARTS}


def main(words: Sequence[str] | None = None) -> None:
    """Measure the parts that are named, and save the numbers beside those of the others."""
    parser = CommandParser(prog="python -m benchmarks.cohort", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parts = parser.parse_args(words).part
    if set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(set(parts) - set(PARTS)))}; there are {', '.join(PARTS)}")
    save("cohort", read_kept("cohort") | run(parts))


if __name__ == "__main__":
    main()
