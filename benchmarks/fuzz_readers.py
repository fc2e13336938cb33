"""``python -m benchmarks.fuzz_readers --minutes 60``: damaged files of every format, in processes that are watched.

A corpus of small whole files (``tests/cine/fuzzed.py``) is mutated: bits, bytes, words, pieces, pieces of other files
of the kind, and numbers in headers. Files are read in a process that is killed where one takes ten seconds. Faults are:
an exception that is no ``InputError``, a message of several lines or without the file's name, a cine that breaks the
contract, more than ten seconds, or more memory than four times the pixels (float32) and ``SPARE`` of the libraries.

With ``--coverage`` the lines and branches of ``cardiac_motion.cine`` that were run are told by coverage.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LONGEST = 10.0  # s for one file
SPARE = 64 << 20  # bytes that libraries may take beside the pixels
MOST_PIXELS = 4  # times the pixels in float32
BATCH = 2000  # files that a process reads before another takes its place, so that its peak of memory is told anew
WORDS = (b"\xff" * 4, b"\0\0\0\x80", b"\xff\xff\xff\x7f", bytes(4), b"\1\0\0\0", b"\0\0\0\1")
READERS = (
    "axes", "dicom", "dicom_header", "dicom_pixels", "dicom_regions", "gif", "kinds", "loop", "metaimage", "nifti",
    "nrrd", "read", "scale", "tiff", "video",
)  # fmt: skip
TEXTS = (b"nan", b"-1", b"1e400", b"65535", b"99999999999", b"0", b" ", b"\\", b"\xff\xfe", b"None", b"1 2 3", b"")


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A damaged copy of a file, with pieces of others of its kind."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not found:
            break
        header = min(len(found), rng.choice((64, 400, 1500)))
        at = rng.randrange(header if rng.random() < 0.7 else len(found))
        step = rng.randrange(9)
        if step == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif step == 1:
            found[at] = rng.randrange(256)
        elif step == 2:
            found[at : at + 4] = rng.choice(WORDS)
        elif step == 3:
            found[at : at + 2] = rng.choice(WORDS)[:2]
        elif step == 4:
            del found[at : at + 1 + rng.randrange(64)]
        elif step == 5:
            found[at:at] = found[at : at + 1 + rng.randrange(64)]
        elif step == 6:
            del found[rng.randrange(len(found)) :]
        elif step == 7:
            other = rng.choice(others)
            start = rng.randrange(max(len(other), 1))
            found[at : at + 32] = other[start : start + rng.randrange(64)]
        else:
            digits = [i for i, byte in enumerate(found[:1500]) if 48 <= byte <= 57]
            place = rng.choice(digits) if digits else at
            found[place : place + 1] = rng.choice(TEXTS)
    return bytes(found)


def check(path: Path) -> tuple[str | None, int]:
    """What is wrong with how a file is read, or None, and the pixels of the cine that it is."""
    import numpy as np
    from monai.data import MetaTensor

    from cardiac_motion.cine.read import read_cine
    from cardiac_motion.core.errors import InputError

    try:
        cine = read_cine(path)
    except InputError as error:
        message = str(error)
        return (None if str(path) in message and "\n" not in message else f"message: {message[:200]}"), 0
    except Exception:
        return "traceback: " + " | ".join(traceback.format_exc().strip().splitlines()[-3:]), 0
    times, spacing = cine.meta["frame_times"], cine.meta["spacing"]
    right = isinstance(cine, MetaTensor) and cine.ndim == 4 and 0 <= float(cine.min()) and float(cine.max()) <= 1
    right = right and (times is None or (len(times) == cine.shape[1] and bool((np.diff(times) > 0).all())))
    right = right and (spacing is None or all(0 < step < 1000 for step in spacing))
    return (None if right else f"contract: {tuple(cine.shape)}, {spacing}, {times and times[:3]}"), cine.numel()


def serve(connection: Connection, measured: bool, folder: str) -> None:
    """Read one file after the other that the other end names, and answer what is wrong and the peak of memory."""
    import logging

    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write there
    connection.send("ready")
    with measure(measured, folder):
        while (path := connection.recv()) is not None:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            wrong, pixels = check(Path(path))
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            if wrong is None and grown > SPARE + MOST_PIXELS * max(4 * pixels, Path(path).stat().st_size):
                wrong = f"memory: {grown / 2**20:.0f} MiB more, {4 * pixels / 2**20:.1f} MiB of pixels"
            connection.send(wrong)
    connection.send("saved")


@contextmanager
def measure(wanted: bool, folder: str) -> Iterator[None]:
    """Keep the lines and branches of the readers that the block runs, where that is wanted."""
    if not wanted:
        yield
        return
    import coverage

    data_file = f"{folder}/coverage.{os.getpid()}"
    tracer = coverage.Coverage(source_pkgs=["cardiac_motion.cine"], branch=True, data_file=data_file)
    tracer.start()
    try:
        yield
    finally:
        tracer.stop()
        tracer.save()


class Reader:
    """A process that reads files, and is killed when it hangs."""

    def __init__(self, measured: bool, folder: str) -> None:
        context = get_context("fork")  # which has all libraries that the parent has loaded
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, measured, folder), daemon=True)
        self.process.start()
        theirs.close()
        self.read, self.connection_ready = 0, self.connection.recv()

    def check(self, path: Path) -> str | None:
        """What is wrong with how a file is read; None where nothing is."""
        self.read += 1
        self.connection.send(str(path))
        if not self.connection.poll(LONGEST):
            os.kill(self.process.pid or 0, signal.SIGKILL)
            return f"hang: more than {LONGEST:g} s"
        try:
            found: str | None = self.connection.recv()
            return found
        except EOFError:
            self.process.join()
            return f"died: exit code {self.process.exitcode}"

    def close(self) -> None:
        """End the process, with its coverage saved."""
        if self.process.is_alive():
            try:
                self.connection.send(None)
                self.connection.poll(60)
            except OSError:
                pass
            self.process.join(60)
            self.process.kill()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fuzz for so many minutes; what was read, and what was wrong, with the files that were."""
    kept = Path(arguments.output_dir)
    kept.mkdir(parents=True, exist_ok=True)
    with measure(arguments.coverage, str(kept)):  # what runs when the readers are imported
        from tests.cine.fuzzed import KINDS, whole

    rng, corpus = random.Random(arguments.seed), {kind: whole(kind) for kind in KINDS}
    read, wrong = Counter[str](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in corpus.values():  # every library is loaded once, before the processes begin
            (Path(folder) / name).write_bytes(content)
            check(Path(folder) / name)
        reader, end = Reader(arguments.coverage, str(kept)), time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < end and sum(read.values()) < arguments.files:
            kind = rng.choice(KINDS)
            name, content = corpus[kind]
            others = [other for k, (n, other) in corpus.items() if Path(n).suffix == Path(name).suffix]
            data = mutate(content, others, rng)
            path = Path(folder) / name
            path.write_bytes(data)
            fault = reader.check(path)
            read[kind] += 1
            if fault is not None:
                (kept / f"{len(wrong):04d}_{name}").write_bytes(data)
                wrong.append({"kind": kind, "fault": fault, "file": f"{len(wrong):04d}_{name}"})
                print(kind, fault, flush=True)
            if reader.read >= BATCH or not reader.process.is_alive() or (fault or "").startswith(("hang", "died")):
                reader.close()
                reader = Reader(arguments.coverage, str(kept))
        reader.close()
    found = {"files": sum(read.values()), "by_kind": dict(read), "faults": wrong, "minutes": arguments.minutes}
    if arguments.coverage:
        import coverage

        data_file = str(kept / "coverage.all")
        total = coverage.Coverage(source_pkgs=["cardiac_motion.cine"], branch=True, data_file=data_file)
        total.combine([str(path) for path in kept.glob("coverage.[0-9]*")])
        total.save()
        with open(kept / "coverage.txt", "w", encoding="utf-8") as file:
            found["coverage_percent"] = round(
                total.report(file=file, include=[f"*/cine/{name}.py" for name in READERS]), 1
            )
    (kept / "fuzz.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    from cardiac_motion.core.command import CommandParser

    parser = CommandParser(prog="python -m benchmarks.fuzz_readers", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--files", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coverage", action="store_true", help="tell the lines and branches that were run")
    parser.add_argument("--output_dir", default="output/fuzz")
    found = run(parser.parse_args(words))
    print({key: value for key, value in found.items() if key != "faults"}, len(found["faults"]), "faults")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
