"""User-facing input errors: one line that names the file and the problem, exit code 1, no traceback."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class InputError(ValueError):
    """Unusable user input; the message is one line that names it and says what is wrong."""


def input_error_in(error: BaseException | None) -> InputError | None:
    """The ``InputError`` that ``error`` is, or was raised ``from`` (MONAI wraps what a config's parts raise).

    What is raised while one is handled, but not from it, is a defect of its own.

    Examples:
        >>> try:
        ...     raise RuntimeError("around it") from InputError("a4c.dcm: not readable")
        ... except RuntimeError as error:
        ...     str(input_error_in(error))
        'a4c.dcm: not readable'
    """
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


@contextmanager
def unwrap_errors() -> Iterator[None]:
    """Re-raise an ``InputError`` without the exceptions that MONAI's transforms and parsers wrap around it.

    Examples:
        >>> with unwrap_errors():
        ...     raise RuntimeError("around it") from InputError("a4c.dcm: not readable")
        Traceback (most recent call last):
        cardiac_motion.core.errors.InputError: a4c.dcm: not readable
    """
    try:
        yield
    except Exception as error:
        found = input_error_in(error)
        if found is None or found is error:
            raise
        raise found from error


def tolerate_terminal() -> None:
    """Print characters that the terminal cannot show as ``?`` instead of failing.

    Windows' ``> log.txt`` is cp1252, ``LANG=C`` is ASCII; notes have ×, µ and −, and names of files anything.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def install_error_hook() -> None:
    """Print only ``error: …`` for an uncaught ``InputError``; ``TRACEBACK=1`` in the environment shows the traceback.

    Named in a bundle's ``initialize``. Any other exception keeps its traceback: it is a defect, not bad input.
    """
    tolerate_terminal()
    if os.environ.get("TRACEBACK"):
        return
    for engine in ("ignite", "monai"):  # ignite logs an engine's exception before it reaches us
        logging.getLogger(engine).setLevel(logging.CRITICAL)
    default = sys.__excepthook__

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = input_error_in(error)
        if found is None:
            default(kind, error, trace)
        else:
            print(f"error: {' '.join(str(found).split())}", file=sys.stderr)

    sys.excepthook = hook
