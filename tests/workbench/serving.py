"""A workbench in a process of its own, and plain requests to it."""

import json
import os
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from tests.cohort.server import free_port

ROOT = Path(__file__).parents[2]


def there_and_back(path, frames, size):
    """The cine that ships with pydicom, resized, forward and back until it has so many frames: whole beats."""
    known = read_cine(demo_cine()).as_tensor()[0].numpy()
    small = np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in known])
    order = [*range(len(small)), *range(len(small) - 2, 0, -1)]
    cine = torch.from_numpy(small[[order[t % len(order)] for t in range(frames)]])
    meta = {"spacing": (0.4, 0.4), "frame_times": [t / 30 for t in range(frames)]}
    write_cine(path, MetaTensor(cine[None], meta=meta))
    return path


class Workbench:
    """``python -m cardiac_motion.workbench`` on a free port of this machine."""

    def __init__(self, folder, *words):
        self.folder, self.port = Path(folder), free_port()
        self.log = open(self.folder / f"workbench-{self.port}.log", "wb")
        command = [sys.executable, "-m", "cardiac_motion.workbench", "--workspace", str(self.folder / "space")]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *words], cwd=ROOT, stdout=self.log, stderr=self.log,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/common:{ROOT}"},
        )  # fmt: skip
        end = time.monotonic() + 300
        while "token=" not in self.said() or not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the workbench did not start: {self.said()}")
            time.sleep(0.1)
        self.address = self.said().split()[2]
        self.token = self.address.split("token=")[1]

    def said(self):
        return Path(self.log.name).read_text(errors="replace", encoding="utf-8")

    def answers(self):
        try:
            return self.ask("GET", "/", token=None)[0] == 401
        except OSError:
            return False

    def ask(self, method, target, body=b"", headers=None, token="own"):
        """A request as it is, nothing normalised: status and body."""
        cookie = {"Cookie": f"workbench={self.token if token == 'own' else token}"} if token else {}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=900)
        try:
            connection.request(method, target, body, {**cookie, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method, target, body=b"", **values):
        status, content = self.ask(method, target, body, **values)
        return status, json.loads(content)

    def memory(self):
        """Resident memory of the server and of its processes together, bytes."""
        server = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)])

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def case(self, name, done, seconds=600):
        """The case when ``done(case)`` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.json("GET", f"/api/cases/{name}")[1]
            if done(found):
                return found
            time.sleep(0.3)
        raise TimeoutError(str(found.get("progress")) + str(found.get("failed")))
