"""Values of options: each has a type and a range, and one that can't be ends in one line that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cardiac_motion.bundle.config import list_options
from cardiac_motion.bundle.option_values import check_values
from cardiac_motion.core.errors import InputError

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
CONFIG: dict[str, Any] = {
    "max_frames": 0, "batch_size": 4, "sigma": 1.2, "save_figures": True, "spacing": None, "frame_rate": None,
    "ed": None, "input": None, "output_dir": "output", "scales": [0.5, 1.0], "gaps": [], "overlap": 75.0,
    "device": "$'cpu'", "seed": 0, "image_mask": 3, "steps": 40,
    "evaluator": {"points": 121, "_target_": "x"}, "list": [{"gap": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_frames", -3, "a whole number from 0 on"), ("max_frames", "all", "a whole number from 0 on"),
        ("max_frames", 2.5, "a whole number"), ("max_frames", True, "a whole number"), ("batch_size", 0, "from 1 on"),
        ("sigma", float("nan"), "a number from 0"), ("sigma", "x", "a number"), ("sigma", -1, "a number from 0"),
        ("overlap", 101, "from 0 to 100"), ("save_figures", "false", "True or False"), ("save_figures", 1, "True or"),
        ("spacing", "0.3x", "mm a pixel"), ("spacing", [0.3, "a"], "mm"), ("spacing", 0, "mm"),
        ("spacing", [0.3] * 3, "mm"), ("spacing", [], "mm"), ("frame_rate", 0, "frames a second"),
        ("ed", -1, "a frame"),
        ("ed", 1.0, "a frame"), ("input", "", "not an empty one"), ("input", [], "not an empty"),
        ("input", ["a", ""], "not an empty"), ("output_dir", "", "not an empty"), ("scales", 0.5, "a list of numbers"),
        ("scales", ["a"], "a list of numbers"), ("steps", [20, -1], "from 0"), ("gaps", 3, "a list"),
        ("steps", [20, "a"], "from 0"),
        ("seed", None, "a whole number"), ("evaluator#points", "many", "a whole number"),
        ("list#0#gap", 0, "from 1 on"),
        ("image_mask", "", "a whole number"), ("device", "cudda", "no such device"),
    ],
)  # fmt: skip
def test_what_can_not_be(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        check_values(CONFIG, {name: value})
    message = str(caught.value)
    assert expected in message and "\n" not in message and (message.startswith(f"--{name} ") or name == "device")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_frames", 0), ("batch_size", 1), ("sigma", 0), ("sigma", 3), ("save_figures", False), ("spacing", 0.3),
        ("spacing", [0.3, 0.4]), ("spacing", None), ("frame_rate", 40), ("ed", 0), ("ed", None), ("input", "a b"),
        ("input", ["a", "b"]), ("input", None),
        ("scales", [1]), ("scales", []), ("steps", [20, 40]), ("steps", 5),
        ("gaps", None), ("gaps", ["a"]), ("overlap", 100),
        ("max_frames", "$1 + 1"), ("batch_size", "@seed"), ("device", "cpu"), ("evaluator#points", 121),
        ("evaluator#other", object()), ("unknown", ""),
    ],
)  # fmt: skip
def test_what_can_be(name: str, value: Any) -> None:
    check_values(CONFIG, {name: value})


@pytest.mark.parametrize("files", sorted(BUNDLES.glob("*/configs/*.json")), ids=lambda p: f"{p.parts[-3]} {p.stem}")
def test_every_default_can_be(files: Path) -> None:
    own = json.loads(files.read_text(encoding="utf-8"))
    for base in (files.parent / "inference.json", files.parent / "train.json"):
        if files.name != "metadata.json" and base.is_file():
            known = list_options([base])
            check_values(known, {k: v for k, v in own.items() if k in known and k != "device" and v is not None})
