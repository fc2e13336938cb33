"""A real MLflow server that can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class TrackingServer:
    """A server on a free port that keeps its runs in ``folder``; a context that ends it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        self.words = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--port", str(port), "--workers", "1",
                      "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *self.words], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
        end = time.monotonic() + 600
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=10).close()
                return
            except OSError:
                time.sleep(0.2)
        self.kill()
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """``kill -9``, with its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> TrackingServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def client(self) -> Any:
        """A client of it."""
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def runs(self, experiment: str) -> list[Any]:
        """All runs of an experiment."""
        client = self.client()
        return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))
