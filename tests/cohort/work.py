"""Cases that cost nothing, and some that go wrong, for the tests and the benchmark of the engine.

``python -m tests.cohort.work OUT COUNT SECONDS [SCHEDULER]`` is a driver that can be killed.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from cardiac_motion.cohort import cluster, engine
from cardiac_motion.cohort.runner import Limits, Work
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole

ROOT = Path(__file__).parents[2]
SIZE = 50_000  # bytes of a case


def work(output_dir, **arguments):
    output_dir = str(Path(output_dir).resolve())
    return Work("tests.cohort.work:writer", {"output_dir": output_dir, **arguments}, output_dir, str(ROOT))


def names(count):
    return [f"case{i:04d}" for i in range(count)]


def end(begun):
    """Kill processes, with what they started, and wait for them."""
    for process in begun:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(True):
                child.kill()
            process.kill()
        process.wait()


def content(name):
    return (hashlib.sha256(name.encode()).digest() * (SIZE // 32 + 1))[:SIZE]


def wait_in(output_dir, name):
    """In the middle of a case: say so in ``middle.txt``, and wait while the folder is held."""
    with open(Path(output_dir) / "middle.txt", "a", encoding="utf-8") as log:
        log.write(f"{name} {os.getpid()}\n")
    while is_held(Path(output_dir)):
        time.sleep(0.01)


def hold(output_dir, count=0):
    """No case goes on past its middle once ``count`` are done, but for those that are past it, until ``release``."""
    (output_dir / ".hold.new").write_text(str(count), encoding="utf-8")
    (output_dir / ".hold.new").rename(output_dir / "hold")


def release(output_dir):
    (output_dir / "hold").unlink()


def is_held(output_dir):
    try:
        count = int((output_dir / "hold").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return count_done(output_dir) >= count


def count_done(output_dir):
    return len(list(output_dir.glob("case*/summary.json")))


def writer(output_dir, seconds=0.0, trouble=None, cpu_seconds=0.0):
    """Each case writes half a file, waits, and writes the rest; a line in ``done.txt`` says that it was moved.

    It waits for ``seconds``, and as long as ``hold`` says.
    """
    trouble = trouble or {}

    def do(name):
        with open(Path(output_dir) / "begun.txt", "a", encoding="utf-8") as log:
            log.write(name + "\n")
        what = trouble.get(name)
        if what == "input":
            raise InputError(f"{name}.nii.gz: is no cine")
        if what == "error":
            raise ValueError("a defect")
        if what == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            while True:
                time.sleep(60)
        if what == "eat":
            eaten = []
            while True:
                eaten.append(b"x" * 2**25)
        if what == "die" or (what == "die once" and not (Path(output_dir) / f".{name}.died").exists()):
            (Path(output_dir) / f".{name}.died").touch()
            print("out of luck", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        with write_whole(Path(output_dir) / name) as folder:
            folder.mkdir()
            data = content(name)
            with open(folder / "field.bin", "wb") as file:
                file.write(data[: SIZE // 2])
                file.flush()
                wait_in(output_dir, name)
                time.sleep(seconds)
                start = time.process_time()
                while time.process_time() - start < cpu_seconds:
                    hashlib.sha256(data).digest()
                file.write(data[SIZE // 2 :])
            about = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "threads": os.environ.get("OMP_NUM_THREADS")}
            (folder / "summary.json").write_text(
                json.dumps({"case": name, **about, "pid": os.getpid()}), encoding="utf-8"
            )
        with open(Path(output_dir) / "done.txt", "a", encoding="utf-8") as log:
            log.write(name + "\n")
        if what == "die late":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang late":
            time.sleep(3600)

    return do


def outputs(output_dir):
    """Digest of each file of each case."""
    found = {}
    for folder in sorted(Path(output_dir).iterdir()):
        if folder.is_dir():
            assert {f.name for f in folder.iterdir()} == {"field.bin", "summary.json"}, folder
            found[folder.name] = hashlib.sha256((folder / "field.bin").read_bytes()).hexdigest()
    return found


def expected(count):
    return {name: hashlib.sha256(content(name)).hexdigest() for name in names(count)}


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too long"
        time.sleep(0.01)


def main(output_dir, count, seconds, scheduler=None):
    place = cluster.connect(scheduler) if scheduler else cluster.start_local(2, [], 2**29)
    with engine.hold_folder(Path(output_dir)), place as client:
        client._timeout = 2.0  # to connect took as long as it took; a scheduler that dies is given up soon
        engine.run_cases(work(output_dir, seconds=float(seconds)), names(int(count)), client, Limits())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
