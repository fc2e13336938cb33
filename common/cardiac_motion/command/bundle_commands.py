"""Verbs that run a bundle on files, with the options of its configuration.

``cardiac-motion strain FILE --output_dir DIR`` is ``python -m cardiac_motion.bundle.run --config_file
bundles/strain_pipeline/configs/inference.json --input FILE --output_dir DIR``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.bundle import run
from cardiac_motion.bundle.config import config_files
from cardiac_motion.bundle.described_options import DescribedOption, describe_options
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.bundle.registration_methods import list_methods, method_files
from cardiac_motion.core.command import CommandParser

INPUT = "input"
OF_ARGUMENT = "_of_bundle"


def add_bundle_options(parser: argparse.ArgumentParser, options: Sequence[DescribedOption], title: str) -> None:
    """Add the options of a configuration to a parser; given options are stored in ``_of_bundle``."""
    group = parser.add_argument_group(title)
    for option in options:
        about = option.help.replace("%", "%%")
        group.add_argument(f"--{option.name}", metavar=option.metavar, help=about, action=_Store, dest=OF_ARGUMENT)
    parser.set_defaults(**{OF_ARGUMENT: None})


class _Store(argparse.Action):
    """Stores the value of an option by its name."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Store ``values`` under the option's name."""
        given = dict(getattr(namespace, OF_ARGUMENT) or {})
        setattr(namespace, OF_ARGUMENT, {**given, str(option_string).removeprefix("--"): values})


def split_nested(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into those without and those with an option of a nested part (``--evaluator#points 121``).

    Examples:
        >>> split_nested(["a.dcm", "--evaluator#points", "121", "--seed", "3"])
        (['a.dcm', '--seed', '3'], ['--evaluator#points', '121'])
    """
    plain: list[str] = []
    nested: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name = word.partition("=")[0]
        if name.startswith("--") and ("#" in name or "::" in name):
            nested += [word] if "=" in word else [word, *left[:1]]
            left = left if "=" in word else left[1:]
        else:
            plain.append(word)
    return plain, nested


def look_ahead(words: Sequence[str], **defaults: Any) -> argparse.Namespace:
    """Parse only what determines the configuration: ``--bundles``, ``--config`` and ``--method``."""
    parser = CommandParser(add_help=False)  # the whole command line is checked later
    parser.add_argument("--bundles")
    parser.add_argument("--config", nargs="+", default=[])
    parser.add_argument("--method")
    parser.set_defaults(**defaults)
    return parser.parse_known_args([word for word in words if word not in ("-h", "--help")])[0]


def _add_shared(parser: CommandParser, about: str, bundle: str) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help=about)
    parser.add_argument("--bundles", metavar="DIR", help="folder of the bundles (default: the usual places)")
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="FILE", help=f"further configuration files of {bundle}, or paths"
    )


def _parser_of(prog: str, description: str, about: str, files: Sequence[Path], names: dict[str, Any]) -> CommandParser:
    bundle = files[0].parents[1].name
    parser = CommandParser(prog=prog, description=description)
    _add_shared(parser, about, bundle)
    for name, settings in names.items():
        parser.add_argument(name, **settings)
    options = [option for option in describe_options(files) if option.name != INPUT]
    add_bundle_options(parser, options, f"options of {' + '.join([bundle, *(path.stem for path in files[1:])])}")
    return parser


def _run(parser: CommandParser, files: Sequence[Path], words: Sequence[str]) -> int:
    plain, nested = split_nested(words)
    given = parser.parse_args(plain)
    command = ["--config_file", *map(str, files), "--bundle_root", str(files[0].parents[1].resolve())]
    if given.files:
        command += ["--input", given.files[0] if len(given.files) == 1 else repr(given.files)]
    for name, value in (getattr(given, OF_ARGUMENT) or {}).items():
        command += [f"--{name}={value}"]
    return run.main([*command, *nested])


def _strain_files(words: Sequence[str]) -> list[Path]:
    ahead = look_ahead(words)
    return config_files(find_bundle("strain_pipeline", ahead.bundles), further=ahead.config)


def strain_parser(words: Sequence[str] = (), prog: str = "cardiac-motion strain") -> CommandParser:
    """Build the parser of ``strain``."""
    about = "a cine, or a study: a folder, a DICOMDIR, or several cines (default: the demo cine)"
    return _parser_of(prog, "Measure left ventricular strain.", about, _strain_files(words), {})


def run_strain(words: Sequence[str], prog: str = "cardiac-motion strain") -> int:
    """Measure strain; return the exit code."""
    return _run(strain_parser(words, prog), _strain_files(words), words)


def _track_files(words: Sequence[str]) -> list[Path]:
    ahead = look_ahead(words, method="ncc_flow")
    files = method_files(ahead.method, 2, ahead.bundles)
    return [*files, *config_files(files[0].parents[1], further=ahead.config)[1:]]


def track_parser(words: Sequence[str] = (), prog: str = "cardiac-motion track") -> CommandParser:
    """Build the parser of ``track``."""
    about = "a cine, or several (default: the demo cine)"
    method = {
        "choices": list(list_methods(2)),
        "default": "ncc_flow",
        "metavar": "NAME",
        "help": f"{'; '.join(f'{name}: {words}' for name, words in list_methods(2).items())} (default: ncc_flow)",
    }
    description = "Measure the motion of every pixel of a cine."
    return _parser_of(prog, description, about, _track_files(words), {"--method": method})


def run_track(words: Sequence[str], prog: str = "cardiac-motion track") -> int:
    """Measure motion; return the exit code."""
    return _run(track_parser(words, prog), _track_files(words), words)


def _blood_files(words: Sequence[str]) -> list[Path]:
    ahead = look_ahead(words)
    return config_files(find_bundle("nmsr_echo", ahead.bundles), further=["blood.json", *ahead.config])


def blood_parser(words: Sequence[str] = (), prog: str = "cardiac-motion blood") -> CommandParser:
    """Build the parser of ``blood``."""
    description = "Measure blood flow of a contrast cine: velocities, vortices, energy."
    return _parser_of(prog, description, "a contrast cine, or several", _blood_files(words), {})


def run_blood(words: Sequence[str], prog: str = "cardiac-motion blood") -> int:
    """Measure blood flow; return the exit code."""
    return _run(blood_parser(words, prog), _blood_files(words), words)


def _segment_files(words: Sequence[str]) -> list[Path]:
    ahead = look_ahead(words, method="ssmsr")
    files = method_files(ahead.method, 3, ahead.bundles)
    return [*files, *config_files(files[0].parents[1], further=ahead.config)[1:]]


def segment_parser(words: Sequence[str] = (), prog: str = "cardiac-motion segment") -> CommandParser:
    """Build the parser of ``segment``."""
    method = {
        "choices": list(list_methods(3)),
        "default": "ssmsr",
        "metavar": "NAME",
        "help": f"{'; '.join(f'{name}: {words}' for name, words in list_methods(3).items())} (default: ssmsr)",
    }
    description = "Segment the hippocampus of a volume by registered atlases."
    about = "a volume (NIfTI; default: synthetic ones)"
    return _parser_of(prog, description, about, _segment_files(words), {"--method": method})


def run_segment(words: Sequence[str], prog: str = "cardiac-motion segment") -> int:
    """Segment hippocampi; return the exit code."""
    return _run(segment_parser(words, prog), _segment_files(words), words)
