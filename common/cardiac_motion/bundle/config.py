"""The configuration of a bundle: its files, checked and merged, with options over them; and what it resolves to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator

from cardiac_motion.bundle.option_values import check_values
from cardiac_motion.bundle.options import bundle_of, check_files, check_known, override
from cardiac_motion.core.errors import InputError, unwrap_errors


def config_files(bundle: str | Path, evaluate: bool = False, further: Sequence[str | Path] = ()) -> list[Path]:
    """Return the files that say what a bundle does, in the order in which they are merged.

    Args:
        bundle: folder.
        evaluate: with ``evaluate.json``.
        further: files; a bare name is one of the bundle's.

    Raises:
        InputError: one is missing.
    """
    configs = Path(bundle) / "configs"
    files = [configs / "inference.json", *([configs / "evaluate.json"] if evaluate else [])]
    files += [Path(name) if Path(name).is_file() else configs / name for name in further]
    check_files(files, str(bundle))
    return files


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is not there, or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no JSON ({error})") from error


def merge_files(files: Sequence[str | Path]) -> dict[str, Any]:
    """Return the content of configuration files, a later one over an earlier one.

    Raises:
        InputError: one is missing, or no JSON.
    """
    check_files(files, str(bundle_of(files)))
    for path in files:
        read_json(path)
    merged: dict[str, Any] = ConfigParser.load_config_files([str(path) for path in files])
    return merged


def list_options(files: Sequence[str | Path]) -> dict[str, Any]:
    """Return the options of a configuration and their defaults: what stands before ``imports`` of a file, but parts.

    A default that is an expression or refers to another option is text that begins with ``$`` or ``@``.

    Raises:
        InputError: a file is missing, or no JSON.
    """
    found: dict[str, Any] = {}
    merged = merge_files(files)
    for path in files:
        for name in takewhile(lambda key: key != "imports", read_json(path)):
            if name in merged and name != "bundle_root" and not isinstance(merged[name], Mapping):
                found[name] = merged[name]
    return found


def parse_config(files: Sequence[str | Path], options: Mapping[str, Any]) -> ConfigParser:
    """Return the merged configuration with ``options`` over it, which finds its bundle from any folder.

    Raises:
        InputError: an option that the bundle doesn't have; or a file is missing, or no JSON.
    """
    merged = merge_files(files)
    root = str(Path(files[0]).parents[1])
    check_known(merged, options, root)
    check_values(merged, options)
    parser = ConfigParser(merged)
    parser.locator = find_components()
    override(parser, {"bundle_root": root, **options})
    return parser


@cache
def find_components() -> ComponentLocator:
    """Where MONAI finds classes by their bare names: its table takes a quarter of a second, and is the same for all."""
    return ComponentLocator()


def content(parser: ConfigParser, name: str) -> Any:
    """Return a part of a configuration, resolved.

    Raises:
        InputError: where bad input is what is wrong with it, without what MONAI wraps it in.
    """
    with unwrap_errors():
        return parser.get_parsed_content(name)
