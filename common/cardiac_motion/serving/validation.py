"""Validation of a request's names, numbers and files. Invalid ones are rejected with a status and a one-line reason."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,119}")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".dcm")
LABEL_SUFFIXES = (".nii.gz", ".nii")
CONTOUR_SUFFIXES = (*LABEL_SUFFIXES, ".json")
LONGEST_PARAMS = 65_536  # characters

Check = Callable[[Any], Any]


class RequestRejected(Exception):
    """Rejected request: HTTP ``status`` and the reason as one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, " ".join(reason.split())


def check_new_name(text: str, what: str = "image") -> str:
    """Return a valid name for a new item.

    Raises:
        RequestRejected: it contains other characters than letters, digits, ``_ . + -``, or two dots in a row.
    """
    if not NAME.fullmatch(text) or ".." in text:
        raise RequestRejected(
            400,
            f"{what} {shorten(text)}: a name must start with a letter or digit and have only letters, digits, _ . + -",
        )
    return text


def tag_name(text: str) -> str:
    """Return a valid tag of labels, for example ``final``; it names a folder."""
    if not TAG.fullmatch(text):
        raise RequestRejected(400, f"tag {shorten(text)}: a tag must have up to 32 letters, digits, _ -")
    return text


def suffix_of(filename: str | None, allowed: Sequence[str], what: str) -> str:
    """Return the suffix of an uploaded file; the rest of its name is ignored."""
    name = str(filename or "").lower()
    for suffix in allowed:
        if name.endswith(suffix):
            return suffix
    raise RequestRejected(415, f"{what} {shorten(Path(name).name)}: must have one of the suffixes {', '.join(allowed)}")


def file_stem(title: str, *parts: str) -> str:
    """Return the name of a download, such as case, view and date, in characters that every file system accepts.

    Examples:
        >>> file_stem("Müller, A. – rest.dcm", "A4C", "2024-05-01")
        'Muller_A_rest_A4C_2024-05-01'
    """
    plain = unicodedata.normalize("NFKD", re.sub(r"\.(nii\.gz|\w{2,4})$", "", title)).encode("ascii", "ignore").decode()
    case = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:60] or "case"
    return "_".join([case, *parts])


def json_object(text: str, what: str = "params") -> dict[str, Any]:
    """Parse a JSON object from a form or a body."""
    if len(text) > LONGEST_PARAMS:
        raise RequestRejected(413, f"{what}: longer than {LONGEST_PARAMS} characters")
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise RequestRejected(400, f"{what}: not valid JSON ({type(error).__name__})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RequestRejected(400, f"{what}: must be a JSON object")
    return values


def shorten(text: Any) -> str:
    """Shorten a value of a request for a message."""
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "...'"


def number(low: float, high: float, whole: bool = False) -> Check:
    """Return a check for a number in [low, high], given as a number or as text."""

    def check(value: Any) -> Any:
        try:
            if isinstance(value, bool):
                raise TypeError
            parsed = int(str(value)) if whole else float(str(value))
        except (TypeError, ValueError):
            parsed = None
        if parsed is None or not low <= parsed <= high:
            kind = "an integer" if whole else "a number"
            raise ValueError(f"{kind} from {low:g} to {high:g}")
        return parsed

    return check


def choice(*values: str) -> Check:
    """Return a check for one of some words."""

    def check(value: Any) -> str:
        if value not in values or not isinstance(value, str):
            raise ValueError(f"one of {', '.join(values)}")
        return value

    return check


def switch(value: Any) -> bool:
    """Parse true or false, given as JSON or as a word."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError("true or false")


def spacing(value: Any) -> list[float]:
    """Parse a spacing, (row, column) in mm/px."""
    try:
        steps = [number(1e-3, 100)(v) for v in (value if isinstance(value, list | tuple) else [value, value])]
    except ValueError:
        steps = []
    if len(steps) != 2:
        raise ValueError("one or two numbers from 0.001 to 100, (row, column) in mm/px")
    return steps
