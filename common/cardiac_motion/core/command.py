"""Command-line parsing without abbreviations; errors are one line that suggests the nearest option."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from cardiac_motion.core.errors import tolerate_terminal


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` with the nearest known name, or an empty string if none is near.

    >>> suggest_name("--inptu", ["--input", "--output_dir"])
    '; did you mean --input?'
    >>> suggest_name("--out", ["--input", "--output_dir"])
    '; did you mean --output_dir?'
    >>> suggest_name("--xyzzy", ["--input", "--output_dir"])
    ''
    """
    names = list(known)
    abbreviated = len(name.lstrip("-")) > 1
    found = sorted((full for full in names if abbreviated and full.startswith(name)), key=len)
    found = found or difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


class CommandParser(argparse.ArgumentParser):
    """``ArgumentParser`` without abbreviations; errors are one line with exit code 2.

    ``argparse`` would take ``--output`` for ``--output_dir``, and say of a mistyped option that it is needed, not that
    it is mistyped. Options below commands (``add_subparsers``) are checked against those of their command.

    >>> parser = CommandParser(prog="python -m ours")
    >>> _ = parser.add_argument("--output_dir", required=True)
    >>> parser.parse_args(["--output_dir", "out"]).output_dir
    'out'
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the arguments; an unknown option is reported before missing ones."""
        tolerate_terminal()
        words = sys.argv[1:] if args is None else list(args)
        self._check(words)
        found, rest = self.parse_known_args(words, namespace)
        if rest:
            self.error(f"{' '.join(rest)}: belongs to no option")
        return found

    def error(self, message: str) -> NoReturn:
        """Exit with a one-line message."""
        self._end(f"{message}; {self.prog} --help shows what there is")

    def _check(self, words: Sequence[str]) -> None:
        parser: argparse.ArgumentParser = self
        for word in words:
            name = word.partition("=")[0]
            if word == "--":
                return
            if name.startswith("--"):
                known = parser._option_string_actions
                if name not in known:
                    self._end(f"{parser.prog}: has no option {name}{suggest_name(name, known)}")
            else:
                parser = next(_commands(parser, word), parser)

    def _end(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}\n")


def _commands(parser: argparse.ArgumentParser, word: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command of this name, if there is one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and word in action.choices:
            yield action.choices[word]
