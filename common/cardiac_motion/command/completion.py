"""``cardiac-motion completion SHELL``: a script that completes verbs and options, as ``shtab`` writes it.

``eval "$(cardiac-motion completion bash)"`` completes in this shell; a file in the
shell's folder of completions completes in every one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cardiac_motion.command.main import COMMANDS, PROGRAM, find_function
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

SHELLS = ("bash", "zsh", "tcsh")


def completion_parser(words: Sequence[str] = (), prog: str = "cardiac-motion completion") -> CommandParser:
    """The parser of ``completion``."""
    parser = CommandParser(prog=prog, description=(__doc__ or "").replace("%", "%%"))
    parser.add_argument("shell", choices=SHELLS)
    return parser


def whole_parser() -> CommandParser:
    """One parser of all verbs with their options; verbs whose packages or bundles are missing have none."""
    parser = CommandParser(prog=PROGRAM)
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb")
    for name, command in COMMANDS.items():
        try:
            parents: list[Any] = [find_function(command.parser)(prog=f"{PROGRAM} {name}")] if command.parser else []
        except InputError:
            parents = []
        verbs.add_parser(name, help=command.about, parents=parents, add_help=not parents)
    return parser


def run_completion(words: Sequence[str], prog: str = "cardiac-motion completion") -> int:
    """Print the script; returns the exit code.

    Raises:
        InputError: ``shtab`` is not installed.
    """
    given = completion_parser(prog=prog).parse_args(words)
    shtab = import_extra("shtab", "the completion of a shell")
    print(shtab.complete(whole_parser(), given.shell))
    return 0
