"""``python -m cardiac_motion.bundle.run --config_file FILE … --option value``: as ``monai.bundle`` does.

The same files, options and results, with three differences. A path is what is written, whatever signs are in it. What
is mistyped, an option, a file, a value that no part of the bundle takes, ends in one line. And the first words are
ours: what MONAI, ignite, pydicom and others say of themselves goes to ``run.log`` in the output folder.
"""

from __future__ import annotations

import ast
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from cardiac_motion.bundle.config import merge_files, read_json
from cardiac_motion.bundle.option_values import check_values
from cardiac_motion.bundle.options import bundle_of, check_files, check_known, check_place, is_path, override
from cardiac_motion.core.errors import InputError, input_error_in, install_error_hook, tolerate_terminal
from cardiac_motion.core.run_settings import note_settings

ABOUT = """usage: python -m cardiac_motion.bundle.run [RUN_ID] --config_file FILE [FILE …] [--option value …]

An option is one of the configuration's names, or of MONAI's: run_id, init_id, final_id, meta_file, args_file."""
MONAIS = ("run_id", "init_id", "final_id", "meta_file")  # arguments of its workflow
ENGINES = ("evaluator", "train#trainer", "validate#evaluator")  # built before anything runs
LOG = "run.log"
KEPT = 100_000  # records in memory until the output folder is there


def arguments(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command line by name; ``config_file`` is a list.

    A value is what Python reads (numbers, lists, ``None``), else text; one of a path is text.

    Raises:
        InputError: a word that belongs to no option, or an option without a value.
    """
    given: dict[str, Any] = {}
    left = list(words)
    if left and not left[0].startswith("--"):
        given["run_id"] = left.pop(0)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("--") or name == "--":
            raise InputError(f"{name}: belongs to no option; an option is --name value")
        key = name[2:].replace("-", "_")
        values = [value] if equals else []
        while not equals and left and not left[0].startswith("--") and (not values or key == "config_file"):
            values.append(left.pop(0))
        if not values:
            raise InputError(f"{name}: needs a value; an option is --name value")
        if key == "config_file":
            given.setdefault(key, []).extend(file for value in values for file in _files(value))
        elif key in given:
            raise InputError(f"{name}: is given twice")
        else:
            given[key] = read_value(key, values[0])
    return given


def _files(value: str) -> list[str]:
    """One file, or a list of them as MONAI's command takes it."""
    found = _parse_literal(value) if value.startswith("[") and not Path(value).exists() else value
    return [str(file) for file in found] if isinstance(found, list | tuple) else [value]


def read_value(name: str, value: str) -> Any:
    """The value of an option that a command line gives: text of a path, else what Python reads."""
    if not is_path(name):
        return _parse_literal(value)
    found = _parse_literal(value)  # a list of paths, or none
    return found if found is None or isinstance(found, list | tuple | bool) else value


def _parse_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def workflow_of(given: dict[str, Any]) -> ConfigWorkflow:
    """MONAI's ``ConfigWorkflow`` of a command's options, its parts built, nothing run.

    Raises:
        InputError: a file is missing or no JSON, an option is unknown, or a value doesn't fit.
    """
    files = files_of(given)
    known = merge_files(files)
    if "meta_file" in given:
        check_files([given["meta_file"]], str(bundle_of(files)))
    own = options_of(given)
    check_known(known, own, str(bundle_of(files)), ("config_file", "args_file", *MONAIS))
    check_values(known, own)
    note_settings(files, own)
    check_place(own.get("bundle_root", known.get("bundle_root")), files)
    monais = {key: given[key] for key in MONAIS if key in given}
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type=None, **monais)
    with report_misfits(own, files):
        override(workflow.parser, own, literal=True)
    if workflow.run_id not in workflow.parser:
        raise InputError(f"{files[-1]}: has no {workflow.run_id} to run")
    return workflow


def files_of(given: dict[str, Any]) -> list[str]:
    """The configuration files among the options.

    Raises:
        InputError: there are none.
    """
    files = given.get("config_file")
    if not files:
        raise InputError("no --config_file FILE: which bundle?")
    return [files] if isinstance(files, str) else list(files)


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """The options that are the configuration's, not MONAI's."""
    return {key: value for key, value in given.items() if key not in ("config_file", *MONAIS)}


@contextmanager
def report_misfits(own: dict[str, Any], files: Sequence[str]) -> Iterator[None]:
    """Building the parts of a configuration: what goes wrong then, a value of the user's made.

    Raises:
        InputError: names the options (or the files, where there are none) and what a part said of them.
    """
    try:
        yield
    except Exception as error:
        if input_error_in(error) is not None or os.environ.get("TRACEBACK"):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        what = ", ".join(f"--{name} {value}" for name, value in own.items()) or ", ".join(map(str, files))
        raise InputError(f"{what}: can't be used ({type(cause).__name__}: {cause}); TRACEBACK=1 shows where") from error


@contextmanager
def log_to_file() -> Iterator[MemoryHandler]:
    """Ours from warnings on and others' errors to the terminal; all to what is yielded, whose target is a file."""
    kept = MemoryHandler(KEPT, logging.CRITICAL + 1)
    kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    console.addFilter(
        lambda r: r.levelno >= (logging.WARNING if r.name.split(".")[0] == "cardiac_motion" else logging.ERROR)
    )
    root = logging.getLogger()
    for name in list(root.manager.loggerDict):  # MONAI's and ignite's write to the terminal by handlers of their own
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate, logging.getLogger(name).disabled = True, False
    root.handlers[:], level = [kept, console], root.level
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    try:
        yield kept
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.handlers[:] = []


def names_in(folder: Path) -> set[str]:
    """What a folder holds; nothing where there is none."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def write_log(handler: MemoryHandler, folder: Path) -> None:
    """Put what was logged into ``run.log`` of a folder, after what an earlier run left; no folder is made for it."""
    if folder.is_dir() and handler.buffer:
        try:
            with open(folder / LOG, "a", encoding="utf-8") as file:
                file.writelines(f"{handler.format(record)}\n" for record in handler.buffer)
        except OSError as error:  # what ended the run is said in its place
            print(f"{folder / LOG}: cannot be written ({error.strerror})", file=sys.stderr)
    handler.buffer.clear()


def run(words: Sequence[str]) -> None:
    """Run what a command line says.

    Raises:
        InputError: it can't be run, or some of its cases can't be done.
    """
    with log_to_file() as kept:
        given = arguments(words)
        if "args_file" in given:
            given = {**read_json(given.pop("args_file")), **given}
        files, folder, held = files_of(given), None, set[str]()
        try:
            workflow = workflow_of(given)
            parser = workflow.parser
            with report_misfits(options_of(given), files):
                folder = Path(str(parser.get_parsed_content("output_dir"))) if "output_dir" in parser else None
                held = set() if folder is None else names_in(folder)
                print(
                    f"{bundle_of(files).name}: {' + '.join(Path(file).stem for file in files)} → {folder}", flush=True
                )
                workflow._run_expr(workflow.init_id)
                for engine in ENGINES:
                    if engine.replace("#", "::") in parser and f"@{engine}.run" in str(parser[workflow.run_id]):
                        parser.get_parsed_content(engine)
            workflow.run()
            workflow.finalize()
        finally:
            # a user's folder, in which a refused run left nothing, gets no log either
            if folder is not None and (not held or LOG in held or names_in(folder) != held):
                write_log(kept, folder)


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    tolerate_terminal()
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(ABOUT)
        return 0 if words else 2
    install_error_hook()
    try:
        run(words)
    except Exception as error:
        known = input_error_in(error)
        if known is None or os.environ.get("TRACEBACK"):
            raise
        print(f"error: {' '.join(str(known).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it keeps what is done", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
