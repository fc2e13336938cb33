"""Options of bundles in words: what each is, its unit and its default.

``options.json`` is the one place where options are described, by name; values and defaults stand in the bundles'
configurations alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import list_options

DESCRIPTIONS = Path(__file__).with_name("options.json")
PARTS = ("handlers",)  # lists of parts, no options


@dataclass(frozen=True)
class DescribedOption:
    """An option of a configuration.

    Attributes:
        name: as in the configuration.
        default: as in the configuration.
        about: what it is.
        unit: of its value; empty where it has none.
    """

    name: str
    default: Any
    about: str
    unit: str

    @property
    def help(self) -> str:
        """``pixels; of the longer side …, at most (default: 320)``."""
        words = "; ".join(part for part in (self.unit, self.about) if part)
        return f"{words} (default: {format_default(self.default)})"

    @property
    def metavar(self) -> str:
        """The kind of value in capitals, as a command line shows it."""
        if isinstance(self.default, bool):
            return "True|False"
        kinds = {int: "N", float: "X", list: "LIST", str: "TEXT"}
        return kinds.get(type(self.default), "VALUE")


@cache
def read_descriptions() -> dict[str, dict[str, str]]:
    """Name of an option to its ``about`` and, where it has one, ``unit``."""
    found: dict[str, dict[str, str]] = json.loads(DESCRIPTIONS.read_text(encoding="utf-8"))
    return found


def describe_options(files: Sequence[str | Path]) -> list[DescribedOption]:
    """The options of a configuration, in its order, each described.

    Args:
        files: merged in this order.

    Raises:
        InputError: a file is missing, or no JSON.
    """
    known = read_descriptions()
    options = {name: value for name, value in list_options(files).items() if name not in PARTS}
    return [
        DescribedOption(name, value, known.get(name, {}).get("about", ""), known.get(name, {}).get("unit", ""))
        for name, value in options.items()
    ]


def format_default(value: Any) -> str:
    """A default as a reader takes it.

    Examples:
        >>> format_default("$@bundle_root + '/models/model.pt'"), format_default("@scales"), format_default([1, 2])
        ("the bundle's models/model.pt", 'as --scales', '[1, 2]')
        >>> format_default("$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"), format_default(None)
        ('cuda where available, else cpu', 'None')
    """
    if not isinstance(value, str):
        return str(value)
    if value.startswith("$@bundle_root + '/"):
        return f"the bundle's {value.removeprefix('$@bundle_root + ').strip(chr(39)).lstrip('/')}"
    if "cuda.is_available" in value:
        return "cuda where available, else cpu"
    if value.startswith("@"):
        return f"as --{value[1:]}"
    return "computed" if value.startswith("$") else value
