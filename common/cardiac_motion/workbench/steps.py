"""The steps that a page may ask for, checked, in words, and as edits (``serving.corrections``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cardiac_motion.serving.settings import HANDLES
from cardiac_motion.serving.validation import Check, RequestRejected, choice, number, shorten, switch
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import APICAL
from cardiac_motion.workbench.log import Edits

FRAME = number(0, 1e6, whole=True)
PLACE = number(-1e5, 1e5)
MILLIMETRES = number(1, 500)
FRAME_RATE = number(1, 5000)
BORDERS = ("endocardium", "epicardium")

Known = Mapping[str, Any]
Shown = Mapping[str, Any] | None


def check_value(check: Check, value: Any, name: str) -> Any:
    """A value of a body.

    Raises:
        RequestRejected: it is none.
    """
    try:
        return check(value)
    except ValueError as error:
        raise RequestRejected(400, f"{name}: expected {error}, got {shorten(value)}") from error


def check_places(value: Any, least: int, most: int, name: str) -> list[list[float]]:
    """Pairs (row, column) of a body, ``least`` to ``most`` of them.

    Raises:
        RequestRejected: they are none.
    """
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise RequestRejected(400, f"{name}: expected {least} to {most} pairs (row, column)")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RequestRejected(400, f"{name}: expected pairs (row, column), got {shorten(pair)}")
    return [[check_value(PLACE, part, name) for part in pair] for pair in value]


def change(body: Mapping[str, Any], edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    """The step that a body asks for.

    Args:
        body: ``what`` is to be changed, and its ``value``.
        edits: that hold.
        known: of the case.
        shown: the result that the page shows, if any.

    Raises:
        RequestRejected: it asks for something else.
    """
    what = body.get("what")
    step = STEPS.get(what) if isinstance(what, str) else None
    if step is None:
        raise RequestRejected(400, f"what: expected one of {', '.join(STEPS)}, got {shorten(what)}")
    return {"field": what, **step(body.get("value"), edits, known, shown)}


def _mark(name: str) -> Callable[..., dict[str, Any]]:
    def step(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
        frame = check_value(FRAME, value, name)
        beat = shown["beats"][0] if shown and shown["beats"] else {}
        ed = {} if name == "ed" or "ed" in edits or "ed" not in beat else {"ed": beat["ed"]}  # of the shown beat
        before = edits.get(name, beat.get(name))
        words = f"{name.upper()} {'' if before is None else f'{before} → '}{frame}"
        return {"what": words, "before": before, "after": frame, "edits": {**edits, **ed, name: frame}}

    return step


def _view(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    view = check_value(choice(*APICAL), value, "view")
    before = edits.get("view") or (shown or {}).get("view") or (known.get("about") or {}).get("view")
    return {"what": f"view {APICAL[view].short}", "before": before, "after": view,
            "edits": {**edits, "view": view, "exclude_segments": []}}  # fmt: skip


def _layer(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    layer = check_value(choice(*LAYERS), value, "layer")
    return {"what": f"layer {layer}", "before": edits.get("layer", LAYERS[0]), "after": layer,
            "edits": {**edits, "layer": layer}}  # fmt: skip


def _segment(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    if not isinstance(value, str) or not value or len(value) > 60:
        raise RequestRejected(400, f"segment: expected its name, got {shorten(value)}")
    excluded = list(edits.get("exclude_segments", []))
    excluded = [name for name in excluded if name != value] if value in excluded else [*excluded, value]
    return {"field": "exclude_segments", "what": f"segment {value} {'excluded' if value in excluded else 'included'}",
            "after": excluded, "edits": {**edits, "exclude_segments": excluded}}  # fmt: skip


def _ignore(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    ignore = check_value(switch, value, "ignore_checks")
    return {"what": "failed checks ignored" if ignore else "checks hold again", "after": ignore,
            "edits": {**edits, "ignore_checks": ignore}}  # fmt: skip


def _wall(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("at"), list):
        raise RequestRejected(400, "a wall has frame, at and moved")
    frame = check_value(FRAME, value.get("frame"), "frame")
    low, high = HANDLES
    moved = check_places(value.get("moved"), low, high, "moved")
    at = [check_value(number(0, 1), share, "at") for share in value["at"][: high + 1]]
    border = check_value(choice(*BORDERS), value.get("border", BORDERS[0]), "border")
    handles = {"frame": frame, "border": border, "at": at, "moved": moved}
    return {"what": f"wall moved at frame {frame}", "after": frame, "handles": handles}


def _clicks(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestRejected(400, "a wall is placed by a frame and three points")
    frame = check_value(FRAME, value.get("frame"), "frame")
    points = check_places(value.get("points"), 3, 3, "points")
    return {"what": f"wall placed at frame {frame}", "after": frame, "clicks": {"frame": frame, "points": points}}


def _scale(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    if value is None:
        return {"what": "spacing of the file", "edits": {k: v for k, v in edits.items() if k != "spacing"}}
    if not isinstance(value, dict):
        raise RequestRejected(400, "a scale has two points and their distance in mm")
    first, second = check_places(value.get("points"), 2, 2, "points")
    length = check_value(MILLIMETRES, value.get("mm"), "mm")
    pixels = math.dist(first, second)
    if pixels < 5:
        raise RequestRejected(400, "the two points lie too near to each other")
    step = length / pixels
    row, column = ((known.get("about") or {}).get("zoom")) or (1.0, 1.0)
    spacing = [round(step * row, 6), round(step * column, 6)]  # of the file's pixels
    return {"what": f"spacing {step:.4g} mm/px, by two points {length:g} mm apart", "after": spacing,
            "edits": {**edits, "spacing": spacing}}  # fmt: skip


def _frame_rate(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    if value is None:
        return {"what": "frame rate of the file", "edits": {k: v for k, v in edits.items() if k != "frame_rate"}}
    if not isinstance(value, dict):
        raise RequestRejected(400, "expected frames_per_second or beats_per_minute")
    if "beats_per_minute" in value:
        heart = check_value(number(35, 200), value["beats_per_minute"], "beats_per_minute")
        beat = next((beat for beat in (shown or {}).get("beats", []) if beat["complete_beat"]), None)
        if beat is None:
            raise RequestRejected(409, "no whole beat is measured: type the frame rate, not the heart rate")
        rate, source = round((beat["end"] - beat["ed"]) * heart / 60, 3), f", from a heart rate of {heart:g} beats/min"
    else:
        rate, source = check_value(FRAME_RATE, value.get("frames_per_second"), "frames_per_second"), ""
    return {"what": f"frame rate {rate:g} frames/s{source}", "after": rate, "edits": {**edits, "frame_rate": rate}}


def _reset(value: Any, edits: Edits, known: Known, shown: Shown) -> dict[str, Any]:
    return {"what": "reset", "edits": {}}


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "ed": _mark("ed"), "es": _mark("es"), "view": _view, "layer": _layer, "segment": _segment, "ignore_checks": _ignore,
    "wall": _wall, "clicks": _clicks, "scale": _scale, "frame_rate": _frame_rate, "reset": _reset,
}  # fmt: skip
