"""What a request may say: names, numbers, files. What it may not ends with a status and one line of reason."""

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


class Refused(Exception):
    """A request that is not done: HTTP ``status`` and the reason as one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, " ".join(reason.split())


def check_new_name(text: str, what: str = "image") -> str:
    """A name under which something new is stored.

    Raises:
        Refused: anything but letters, digits, ``_ . + -``, or two dots in a row.
    """
    if not NAME.fullmatch(text) or ".." in text:
        raise Refused(
            400, f"{what} {shorten(text)}: a name has letters, digits, _ . + - and begins with a letter or digit"
        )
    return text


def tag_name(text: str) -> str:
    """A tag of labels, ``final`` say; it names a folder."""
    if not TAG.fullmatch(text):
        raise Refused(400, f"tag {shorten(text)}: a tag has up to 32 letters, digits, _ -")
    return text


def suffix_of(filename: str | None, allowed: Sequence[str], what: str) -> str:
    """The format of an uploaded file; nothing else of its name is used."""
    name = str(filename or "").lower()
    for suffix in allowed:
        if name.endswith(suffix):
            return suffix
    raise Refused(415, f"{what} {shorten(Path(name).name)}: expected a file that ends in {', '.join(allowed)}")


def file_stem(title: str, *parts: str) -> str:
    """The name of what is taken away: case, view and date say, in letters that every file system takes.

    Examples:
        >>> file_stem("Müller, A. – rest.dcm", "A4C", "2024-05-01")
        'Muller_A_rest_A4C_2024-05-01'
    """
    plain = unicodedata.normalize("NFKD", re.sub(r"\.(nii\.gz|\w{2,4})$", "", title)).encode("ascii", "ignore").decode()
    case = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:60] or "case"
    return "_".join([case, *parts])


def json_object(text: str, what: str = "params") -> dict[str, Any]:
    """A JSON object of a form or a body."""
    if len(text) > LONGEST_PARAMS:
        raise Refused(413, f"{what}: longer than {LONGEST_PARAMS} characters")
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"{what}: not JSON ({type(error).__name__})") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Refused(400, f"{what}: expected a JSON object")
    return found


def shorten(text: Any) -> str:
    """A value of a request, short enough for a message."""
    said = repr(text)
    return said if len(said) <= 60 else said[:57] + "...'"


def number(low: float, high: float, whole: bool = False) -> Check:
    """A number in [low, high]; text that is one counts."""

    def check(value: Any) -> Any:
        try:
            if isinstance(value, bool):
                raise TypeError
            found = int(str(value)) if whole else float(str(value))
        except (TypeError, ValueError):
            found = None
        if found is None or not low <= found <= high:
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"{kind} from {low:g} to {high:g}")
        return found

    return check


def choice(*values: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        if value not in values or not isinstance(value, str):
            raise ValueError(f"one of {', '.join(values)}")
        return value

    return check


def switch(value: Any) -> bool:
    """True or false, as JSON or as a word."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError("true or false")


def spacing(value: Any) -> list[float]:
    """(row, column) in mm/px."""
    try:
        found = [number(1e-3, 100)(v) for v in (value if isinstance(value, list | tuple) else [value, value])]
    except ValueError:
        found = []
    if len(found) != 2:
        raise ValueError("one or two numbers from 0.001 to 100, (row, column) in mm/px")
    return found
