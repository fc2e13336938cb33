"""Result folders of cases, chosen so that no input and no other case's results are overwritten.

A case's folder has the case's name. Where two inputs have one name, the folders that they lie in go before it
(``a/a4c.dcm`` and ``b/a4c.dcm`` are ``a_a4c`` and ``b_a4c``), in one run and over several.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cardiac_motion.core.datalist import is_path
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import SUMMARY, is_replaceable, summary_of

Entry = Mapping[str, Any]
TABLES = ("metrics.csv", "pairs.csv")  # of a list, beside its cases' folders


def source_of(image: str) -> str:
    """Return the identity of an input: its full path, or its name if there is no file.

    Examples:
        >>> source_of("synthetic_target_0")
        'synthetic_target_0'
    """
    return os.path.realpath(image) if os.path.lexists(image) else image


def identity(entry: Entry) -> str:
    """Return the name and input of an entry, unique within a list.

    Examples:
        >>> identity({"case": "a4c", "image": "no_file"})
        'a4c: no_file'
    """
    return f"{entry['case']}: {source_of(entry['image'])}"


def case_names(entries: Sequence[Entry], output_dir: str | Path, method: str = "") -> list[str]:
    """Return the names of the cases' result folders in ``output_dir``; nothing is created.

    Args:
        entries: of a data set, with ``case`` and ``image`` and what else names files (``datalist.resolve_entry``).
        output_dir: where the folders are, or are to be.
        method: that makes the results; those of another are not replaced.

    Raises:
        InputError: a case has no name that a folder can have; one input is given twice by one name; or a folder is,
            holds or lies in an input, was not made by this program, or has results of another method.

    Examples:
        >>> case_names([{"case": "a4c", "image": "no_file"}], "no_folder")
        ['a4c']
    """
    output_dir = Path(output_dir)
    sources = [source_of(entry["image"]) for entry in entries]
    twice = [key for key, times in Counter(identity(entry) for entry in entries).items() if times > 1]
    if twice:
        raise InputError(f"given twice: {', '.join(twice[:3])}")
    same_name: dict[str, list[int]] = {}
    for index, (entry, source) in enumerate(zip(entries, sources, strict=True)):
        same_name.setdefault(_check_name(str(entry["case"]), source), []).append(index)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for name, same in same_name.items():
        choices = {index: _choices(name, sources[index]) for index in same}
        depth = _find_difference(list(choices.values()))
        for index, own in choices.items():
            before = [n for n in own if _is_made_from(output_dir / n, sources[index])]
            free = [n for n in own[depth:] if not _is_of_another(output_dir / n, sources[index])]
            found = next((n for n in before + free if n not in taken), None)
            if found is None:
                raise InputError(f"{sources[index]}: {output_dir} has results of other inputs of its name")
            names[index] = found
            taken.add(found)
    ordered = [names[index] for index in range(len(entries))]
    inputs = (path for entry in entries for path in input_paths(entry))
    check_targets([output_dir / name for name in ordered], inputs)
    check_tables(output_dir)
    check_method(output_dir, method)
    return ordered


def check_method(output_dir: Path, method: str) -> None:
    """Refuse to write beside results of another method: they and the tables of them would be replaced.

    Raises:
        InputError: the folder has some.

    Examples:
        >>> check_method(Path("no_folder"), "dis")
    """
    for folder in sorted(output_dir.iterdir()) if method and output_dir.is_dir() else ():
        made = (summary_of(folder) or {}).get("method", method) if folder.is_dir() else method
        if made != method:
            raise InputError(
                f"{folder}: has results of {made}, which those of {method} would replace or leave out of the tables of "
                f"{output_dir}; take another output_dir"
            )


def keep_other_settings(folder: Path, settings: str | None) -> Path | None:
    """Keep a case's results of other settings: its folder gets their digest behind its name.

    Args:
        folder: of the case.
        settings: digest of what the results that are about to take its place depend on; None keeps nothing.

    Returns:
        where they are kept now, or None if there were none.

    Examples:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = Path(place) / "a4c"
        ...     folder.mkdir()
        ...     summary = {"case": "a4c", "method": "dis", "settings": "0123456789abcdef"}
        ...     _ = (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        ...     keep_other_settings(folder, "0123456789abcdef"), keep_other_settings(folder, "fedcba").name
        (None, 'a4c.01234567')
    """
    before = (summary_of(folder) or {}).get("settings")
    if not settings or not before or before == settings:
        return None
    kept = folder.with_name(f"{folder.name}.{str(before)[:8]}")
    if kept.is_dir() and summary_of(kept) is not None:
        shutil.rmtree(kept)
    folder.rename(kept)
    return kept


def _check_name(name: str, source: str) -> str:
    if name in ("", ".", "..") or "\0" in name or any(mark in name for mark in (os.sep, os.altsep) if mark):
        raise InputError(f"{source}: {name!r} is no name for the folder of its results; give its whole path")
    return name


def _choices(name: str, source: str) -> list[str]:
    """``name``, then with the folders before it, then the same with the whole name of the file behind it."""
    folders = [part for part in Path(source).parts[:-1] if part != Path(source).anchor]
    own = [name, f"{name}_{Path(source).name}"]
    return ["_".join([*folders[len(folders) - k :], last]) for last in own for k in range(len(folders) + 1)]


def _find_difference(choices: Sequence[Sequence[str]]) -> int:
    """The first place at which the choices of all inputs differ."""
    for k in range(max(map(len, choices))):
        if len({own[min(k, len(own) - 1)] for own in choices}) == len(choices):
            return k
    return 0


def _is_made_from(folder: Path, source: str) -> bool:
    """Whether the folder has results of an input; those of version 0.1.0 don't say of which."""
    summary = summary_of(folder) if folder.is_dir() else None
    return summary is not None and "method" in summary and summary.get("input", source) == source


def _is_of_another(folder: Path, source: str) -> bool:
    """Whether the folder has results of another input, or a simulated case."""
    return folder.is_dir() and summary_of(folder) is not None and not _is_made_from(folder, source)


def is_finished(output_dir: str | Path, entry: Entry) -> bool:
    """Return whether the results of an entry's input exist.

    Examples:
        >>> is_finished("no_folder", {"case": "a4c", "image": "no_file"})
        False
    """
    source = source_of(entry["image"])
    return any(_is_made_from(Path(output_dir) / name, source) for name in _choices(str(entry["case"]), source))


def input_paths(entry: Entry) -> Iterator[str]:
    """Return the files and folders that an entry names.

    Examples:
        >>> list(input_paths({"case": "a4c", "image": "a4c.dcm", "es_mask": "es.png", "ed": 3}))
        ['a4c.dcm', 'es.png']
    """
    for key, value in entry.items():
        if isinstance(value, str) and is_path(key):
            yield value


def check_targets(targets: Sequence[Path], inputs: Iterable[str | Path]) -> None:
    """Check that folders may be written and replaced.

    Args:
        targets: folders of results.
        inputs: files and folders that are read.

    Raises:
        InputError: a target is, holds or lies in an input, or is there and was not made by this program.

    Examples:
        >>> check_targets([Path("out/a4c")], ["study/a4c.dcm"])
        >>> check_targets([Path("study")], ["study/a4c.dcm"])
        Traceback (most recent call last):
        cardiac_motion.core.errors.InputError: study: the results would replace the input in it; take another output_dir
    """
    folder_of = lru_cache(maxsize=4096)(os.path.realpath)
    given: set[str] = set()
    for path in inputs:
        place, name = os.path.split(os.path.abspath(path))
        given.add(os.path.join(folder_of(place), name))
        if os.path.islink(path):
            given.add(os.path.realpath(path))
    holders = {str(parent) for path in given for parent in Path(path).parents}
    for target in targets:
        real = Path(os.path.realpath(target))
        if str(real) in given or str(real) in holders:
            raise InputError(f"{target}: the results would replace the input in it; take another output_dir")
        if any(str(parent) in given for parent in real.parents):
            raise InputError(f"{target}: the results would lie in the input; take another output_dir")
        if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or not is_replaceable(target)):
            raise InputError(f"{target}: exists and was not written by this program; take another output_dir")


def check_tables(output_dir: Path) -> None:
    """Check that the tables of a list may be replaced.

    Raises:
        InputError: one is there that this program did not write.

    Examples:
        >>> check_tables(Path("no_folder"))
    """
    for name in TABLES:
        path = output_dir / name
        if os.path.lexists(path) and not _has_case_column(path):
            raise InputError(f"{path}: exists and was not written by this program; take another output_dir")
    path = output_dir / SUMMARY
    if os.path.lexists(path) and summary_of(output_dir) is None:
        raise InputError(f"{path}: exists and was not written by this program; take another output_dir")


def _has_case_column(path: Path) -> bool:
    try:
        with open(path, errors="replace", encoding="utf-8") as file:
            return file.readline().split(",")[0].strip() in ("case", "")
    except OSError:
        return False
