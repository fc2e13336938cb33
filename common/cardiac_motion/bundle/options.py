"""Options of a bundle as the user gives them: known ones alone, and paths exactly as they are written.

MONAI takes any ``--key value`` into the configuration, so that a mistyped one would be ignored; it turns a folder whose
name is a number into a number, and ``#`` in a path into ``::``.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

import fire
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run

from cardiac_motion.core.command import suggest_name
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.run_settings import note_settings

PATHS = ("input", "label", "datalist", "contour", "split", "images", "checkpoint", "start", "weights", "simulated")
PATH_ENDINGS = ("_dir", "_root", "_mask", "_weights", "_images", "_simulated")
TRACKING = ("output_dir", "tracking_uri", "experiment_name", "run_name", "save_execute_config")  # with --tracking
SIGNS = ("$", "@", "%")  # that begin an expression, a reference or a macro


def check_options(resolved: MutableMapping[str, Any]) -> None:
    """Check the options of ``python -m monai.bundle run``; called in ``initialize`` of a bundle's configurations.

    The keys on the command line (``sys.argv``, and the file of ``--args_file``) are compared with those of the
    configuration files. A workflow that is run otherwise is left alone.

    Args:
        resolved: the values that MONAI has resolved, by id: ``__local_refs`` in an expression. Paths of the command
            line are put there as they are written, before anything reads them.

    Raises:
        InputError: an option that the files don't have; or the bundle is not found from the current folder.
    """
    from cardiac_motion.bundle.option_values import check_values  # which needs what is here

    words = monai_command(sys.argv)
    if words is None:
        return
    given = parse_words(words)
    files = [given["config_file"]] if isinstance(given["config_file"], str) else list(given["config_file"])
    arguments = {name for function in (run, create_workflow, ConfigWorkflow) for name in _parameters(function)}
    arguments |= set(TRACKING) if given.get("tracking") is not None else set()
    known = ConfigParser.load_config_files(files)
    own = {key: value for key, value in given.items() if key in known or key not in arguments}
    check_known(known, own, str(bundle_of(files)), arguments)
    check_values(known, own)
    note_settings(files, own)
    check_place(own.get("bundle_root", known.get("bundle_root")), files)
    paths = {key: restore_path(key, value) for key, value in own.items() if not _is_numeric(known.get(key))}
    resolved.update({key: value for key, value in _paths_in(paths).items() if _is_literal(value)})


def monai_command(argv: Sequence[str]) -> list[str] | None:
    """The words after ``run`` where a program's words are those of ``python -m monai.bundle run …``, else None.

    Examples:
        >>> monai_command(["/site-packages/monai/bundle/__main__.py", "run", "--config_file", "a.json"])
        ['--config_file', 'a.json']
    """
    program = Path(argv[0]).parts[-3:] if argv else ()
    return list(argv[2:]) if program == ("monai", "bundle", "__main__.py") and argv[1:2] == ["run"] else None


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """The arguments of ``monai.bundle.run`` that its command line, ``fire``, makes of words.

    Examples:
        >>> parse_words(["--config_file", "a.json", "--levels=3", "--save_figures"])
        {'config_file': 'a.json', 'levels': 3, 'save_figures': True}
    """
    found: dict[str, Any] = {}

    @functools.wraps(run)
    def record(*values: Any, **named: Any) -> None:
        arguments = dict(zip(_parameters(run), values, strict=False)) | named
        found.update({key: value for key, value in arguments.items() if value is not None or key not in monais})

    monais = _parameters(run)
    fire.Fire(record, list(words))
    if found.get("args_file"):
        return {**ConfigParser.load_config_file(found["args_file"]), **found}
    return found


def _is_numeric(value: Any) -> bool:
    """Whether the files have a number or a list of them, so that the option is no path, whatever its name ends with."""
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, int | float) for one in values)


def _parameters(function: Any) -> list[str]:
    return [name for name, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD]


def bundle_of(files: Sequence[str | Path]) -> Path:
    """The bundle's folder, of the first of its configuration files."""
    folder = Path(files[0]).resolve().parent
    return folder.parent if folder.name == "configs" else folder


def check_known(config: Mapping[str, Any], names: Iterable[str], source: str, further: Collection[str] = ()) -> None:
    """See that options change what a configuration has.

    Args:
        config: merged, without the options.
        names: of the options; ``a#b`` and ``a::b`` are below ``a``.
        source: what they are options of, for the message.
        further: known names that are none of the configuration.

    Raises:
        InputError: one is unknown; the line names the nearest known one.
    """
    for name in (name for name in names if name not in further):
        *above, last = name.replace("::", "#").split("#")
        node: Any = config
        for depth, part in enumerate(above):
            if not _has_part(node, part):
                raise _unknown_option_error(source, name, above[:depth], part, node, further)
            node = node[int(part)] if isinstance(node, list) else node[part]
        if not (
            _has_part(node, last) or (isinstance(node, Mapping) and (last in _list_arguments(node) or _is_open(node)))
        ):
            raise _unknown_option_error(source, name, above, last, node, further)


def _has_part(node: Any, part: str) -> bool:
    if isinstance(node, list):
        return part.isdigit() and int(part) < len(node)
    return isinstance(node, Mapping) and part in node


def _unknown_option_error(
    source: str, name: str, above: Sequence[str], part: str, node: Any, further: Iterable[str]
) -> InputError:
    known = [*node, *_list_arguments(node)] if isinstance(node, Mapping) else []
    options = ["--" + "#".join([*above, key]) for key in known] + ([] if above else [f"--{key}" for key in further])
    return InputError(f"{source}: has no option --{name}{suggest_name('--' + '#'.join([*above, part]), options)}")


def _is_open(node: Mapping[str, Any]) -> bool:
    """A dictionary of names that somebody else checks: of settings, or of what takes any."""
    if "_target_" not in node:
        return "bundle_root" not in node and "_meta_" not in node and "run" not in node
    target = locate(str(node["_target_"]))
    return target is None or any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())  # type: ignore[arg-type]


def _list_arguments(node: Mapping[str, Any]) -> list[str]:
    """The arguments of the class that a part of a configuration names."""
    target = locate(str(node["_target_"])) if "_target_" in node else None
    special = ["_disabled_", "_requires_", "_mode_", "_desc_"]
    return [] if target is None else [*_parameters(target), *special]


def check_place(root: Any, files: Sequence[str | Path]) -> None:
    """See that a bundle's paths lead into it from the current folder.

    Raises:
        InputError: they don't; the line says where to start.
    """
    own = bundle_of(files)
    if isinstance(root, str) and not root.startswith(SIGNS) and Path(root).resolve() != own:
        parts = Path(root).parts
        place = own.parents[len(parts) - 1] if own.parts[-len(parts) :] == parts else own
        raise InputError(f"{root}: not in the current folder {Path.cwd()}; start in {place}")


def is_path(name: str) -> bool:
    """Whether an option of this name is a path, or a list of paths."""
    last = name.replace("::", "#").split("#")[-1]
    return last in PATHS or last.endswith(PATH_ENDINGS)


def restore_path(name: str, value: Any) -> Any:
    """A path as it stands on the command line, where ``fire`` read Python: ``2024`` a number, ``a#b`` is ``a``.

    Args:
        name: of the option; of one that is no path the value is given back.
        value: that ``fire`` made of it.
    """
    if not is_path(name) or isinstance(value, bool | Mapping) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [str(one) if isinstance(one, int | float) and not isinstance(one, bool) else one for one in value]
    word = _word(name)
    quoted = word is not None and word[:1] in ("'", '"')
    return str(value) if word is None or quoted else word


def _word(name: str) -> str | None:
    """What follows ``--name`` on the command line."""
    for index, word in enumerate(sys.argv):
        key, equals, text = word.partition("=")
        if key.startswith("-") and key.lstrip("-").replace("-", "_") == name:
            following = sys.argv[index + 1 : index + 2]
            return text if equals else following[0] if following else None
    return None


def override(parser: ConfigParser, values: Mapping[str, Any], literal: bool = False) -> None:
    """Put options into a configuration so that nothing in a path is read as something else.

    Args:
        parser: of the configuration.
        values: option to value. A path that exists is one whatever it begins with; else ``$``, ``@`` and ``%`` at the
            start of a value mean what they mean to MONAI.
        literal: they mean nothing at the start of a path.
    """
    parser.update({name: None if is_path(name) else value for name, value in values.items()})
    paths = _paths_in(values)
    kept = {name: value for name, value in paths.items() if literal or _is_literal(value)}
    _set_values(parser, {name: value for name, value in paths.items() if name not in kept})
    parser.parse(reset=True)
    _set_values(parser, kept)
    parser.ref_resolver.resolved_content.update(kept)


def _paths_in(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("#", "::"): value for name, value in values.items() if is_path(name)}


def _set_values(parser: ConfigParser, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        *above, last = name.split("::")
        node: Any = parser.config
        for part in above:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[int(last) if isinstance(node, list) else last] = value


def _is_literal(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_literal(one) for one in value)
    return isinstance(value, str | Path) and (not str(value).startswith(SIGNS) or Path(value).exists())


def check_files(files: Iterable[str | Path], source: str) -> None:
    """See that configuration files are there.

    Raises:
        InputError: one isn't; the line names the nearest of its folder.
    """
    for path in map(Path, files):
        if not path.is_file():
            there = path.parent.glob("*.json")
            if not path.parent.is_dir() and path.parent.name == "configs":  # another bundle, then
                there = path.parents[2].glob(f"*/configs/{path.name}")
            raise InputError(
                f"{source}: cannot be run, missing {path}{suggest_name(str(path), sorted(map(str, there)))}"
            )
