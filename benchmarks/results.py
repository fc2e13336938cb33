"""Where the numbers of a benchmark are kept, and how they are shown."""

from __future__ import annotations

import csv
import json
import platform
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks/results"


def read_kept(name: str) -> dict[str, Any]:
    """The numbers of an earlier run, without the machine; none where there was none."""
    path = FOLDER / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: value for key, value in found.items() if key != "machine"}


def read_kept_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV that an earlier run wrote, or none."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save(name: str, numbers: dict[str, Any]) -> None:
    """Print the numbers and write them, with the machine, to ``benchmarks/results/<name>.json``."""
    FOLDER.mkdir(exist_ok=True)
    machine = {"processor": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    text = json.dumps({"machine": machine, **numbers}, indent=1)
    print(text)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
