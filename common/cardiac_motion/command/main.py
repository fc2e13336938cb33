"""``cardiac-motion VERB …``: the verbs and the exit codes.

0: success. 1: invalid input; one line gives the reason. 2: wrong usage; the line suggests the nearest option. 3: some
cases of a list failed. 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import cardiac_motion
from cardiac_motion.core.command import CommandParser, suggest_name
from cardiac_motion.core.errors import input_error_in

PROGRAM = "cardiac-motion"
DONE, BAD_INPUT, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = "0 success, 1 invalid input, 2 wrong usage, 3 some cases of a list failed, 130 interrupted"


@dataclass(frozen=True)
class Command:
    """A verb.

    Attributes:
        about: summary for the overview.
        function: ``module:function`` that runs it with the remaining arguments and returns the exit code.
        parser: ``module:function`` that builds its parser, for completion; None if there is none.
        prog: whether both accept the program's name.
    """

    about: str
    function: str
    parser: str | None = None
    prog: bool = True


_BUNDLES = "cardiac_motion.command.bundle_commands"
_COMMAND = "cardiac_motion.command"


def _program(about: str, package: str) -> Command:
    """Return the verb of a package that is also a program of its own."""
    return Command(about, f"cardiac_motion.{package}.__main__:main", f"cardiac_motion.{package}.__main__:make_parser")


def _bundle_verb(about: str, verb: str) -> Command:
    return Command(about, f"{_BUNDLES}:run_{verb}", f"{_BUNDLES}:{verb}_parser")


COMMANDS = {
    "strain": _bundle_verb("measure left ventricular strain of a cine or a study", "strain"),
    "track": _bundle_verb("measure the motion of every pixel of a cine", "track"),
    "blood": _bundle_verb("measure blood flow of a contrast cine", "blood"),
    "segment": _bundle_verb("segment the hippocampus of a volume", "segment"),
    "register": Command(
        "register one image to another", f"{_COMMAND}.register:run_register", f"{_COMMAND}.register:register_parser"
    ),
    "compare": _program("compare methods on a list of cases", "compare"),
    "simulate": _program("write simulated cines with known motion", "simulation"),
    "cohort": _program("run a bundle over a list of cases, here or on a cluster", "cohort"),
    "workbench": _program("view and correct strain results in the browser", "workbench"),
    "label": Command("serve the bundles by MONAI Label", f"{_COMMAND}.label:run_label", prog=False),
    "prove": _program("evaluate on public data, together with other methods", "prove"),
    "bundles": Command(
        "list, find, export or download bundles",
        f"{_COMMAND}.bundles:run_bundles",
        f"{_COMMAND}.bundles:bundles_parser",
    ),
    "completion": Command(
        "print the completion script of a shell",
        f"{_COMMAND}.completion:run_completion",
        f"{_COMMAND}.completion:completion_parser",
    ),
}


def find_function(path: str) -> Callable[..., object]:
    """Import the function given as ``module:function``."""
    module, _, name = path.partition(":")
    function: Callable[..., object] = getattr(import_module(module), name)
    return function


def overview() -> CommandParser:
    """Build the parser of the program itself, with its verbs but not their options."""
    parser = CommandParser(
        prog=PROGRAM,
        description="Motion of hearts and brains in medical images: strain, tracking, blood flow, segmentation.",
        epilog=f"{PROGRAM} VERB --help lists all options of a verb. Exit codes: {EXIT_CODES}.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {cardiac_motion.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    for name, command in COMMANDS.items():
        verbs.add_parser(name, help=command.about, add_help=False)
    return parser


def run_command(words: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    verb = words[0] if words else ""
    try:
        if verb not in COMMANDS:
            return _run_overview(words)
        command = COMMANDS[verb]
        given = {"prog": f"{PROGRAM} {verb}"} if command.prog else {}
        code = find_function(command.function)(words[1:], **given)
        return code if isinstance(code, int) else DONE
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or DONE
        print(ended.code, file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        known = input_error_in(error)
        if known is None or os.environ.get("TRACEBACK"):
            raise
        print(f"error: {' '.join(str(known).split())}", file=sys.stderr)
        return BAD_INPUT


def _run_overview(words: Sequence[str]) -> int:
    parser = overview()
    if words and not words[0].startswith("-"):
        print(f"error: {PROGRAM}: unknown verb {words[0]}{suggest_name(words[0], COMMANDS)}", file=sys.stderr)
        return BAD_USAGE
    parser.parse_args(words)
    parser.print_help()
    return BAD_USAGE
