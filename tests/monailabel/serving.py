"""A real server in a process of its own, and plain requests to it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import psutil
from monai.data import MetaTensor

from cardiac_motion.cine.write import write_cine
from tests.cohort.server import free_port
from tests.conftest import moving_cine

ROOT = Path(__file__).parents[2]
BOUNDARY = "part-of-the-form"


def write_cine_file(path, frames=4, size=(72, 80)):
    """A small cine of turning speckle."""
    cine, _ = moving_cine(frames, size)
    meta = {"spacing": (0.5, 0.5), "frame_times": [0.03 * t for t in range(frames)]}
    write_cine(path, MetaTensor(cine[None], meta=meta))


class Server:
    """``python apps/monailabel`` on a free port of this machine, with its temporary files in ``folder/tmp``."""

    def __init__(self, folder, *words):
        self.folder, self.words = Path(folder), words
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "tmp").mkdir(exist_ok=True)
        self.log = open(self.folder / f"server-{self.port}.log", "wb")
        command = [sys.executable, "apps/monailabel", "--port", str(self.port), *words]
        environment = {**os.environ, "TMPDIR": str(self.folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self.log, stderr=self.log)
        self._wait()

    def _wait(self):
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}/datastore/", timeout=10).read()
                return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the server did not start: {self.said()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def said(self):
        return Path(self.log.name).read_text(errors="replace", encoding="utf-8")

    def memory(self):
        """Resident memory of the server itself, bytes."""
        return psutil.Process(self.process.pid).memory_info().rss

    def workers(self):
        """Its worker processes."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in found if "cardiac_motion.cohort.process" in " ".join(p.cmdline())]

    def ask(self, method, target, body=b"", headers=None, timeout=900):
        """A request as it is, nothing normalised: status and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method, target, **fields):
        """A form of texts and files ``(name, bytes)``; status and what its JSON says."""
        body, headers = form(**fields) if fields else (b"", {})
        status, content = self.ask(method, target, body, headers)
        return status, json.loads(content or b"null")


def form(**fields):
    """A multipart body and its headers."""
    parts = []
    for name, value in fields.items():
        about = f'form-data; name="{name}"'
        if isinstance(value, tuple):
            filename, content = value
            about += f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
        else:
            content = value.encode()
        parts.append(f"--{BOUNDARY}\r\nContent-Disposition: {about}\r\n\r\n".encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def tree(folder, leave_out=()):
    """Files below a folder with their size and change."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and not any(path.is_relative_to(place) for place in leave_out):
            state = path.stat()
            found[str(path.relative_to(folder))] = (state.st_size, state.st_mtime_ns)
    return found
