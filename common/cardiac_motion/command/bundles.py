"""``cardiac-motion bundles``: list bundles, show a bundle's folder, and copy or download bundles to a data folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cardiac_motion.bundle.find import (
    download_bundle,
    find_bundle,
    list_bundles,
    search_folders,
    user_bundles,
)
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError

PARTS = ("configs", "models", "docs")


def bundles_parser(words: Sequence[str] = (), prog: str = "cardiac-motion bundles") -> CommandParser:
    """Build the parser of ``bundles``."""
    parser = CommandParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="list name, version, folder and task of all installed bundles")
    path = commands.add_parser("path", help="print the folder of a bundle")
    path.add_argument("name", metavar="NAME")
    export = commands.add_parser("export", help="copy bundles to a folder where they are found from any directory")
    export.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    download = commands.add_parser("download", help="download a bundle from Hugging Face")
    download.add_argument("name", metavar="OWNER/NAME")
    download.add_argument("--revision", help="branch, tag or commit (default: the main branch)")
    for one in (listed, path, export):
        one.add_argument(
            "--bundles", metavar="DIR", help="folder that contains the bundles (default: the usual places)"
        )
    for one in (export, download):
        about = f"destination folder (default: {user_bundles()})"
        one.add_argument("--output_dir", type=Path, metavar="DIR", help=about.replace("%", "%%"))
    return parser


def run_bundles(words: Sequence[str], prog: str = "cardiac-motion bundles") -> int:
    """Run the command line; return the exit code.

    Raises:
        InputError: a bundle is not found, or cannot be copied or downloaded.
    """
    given = bundles_parser(prog=prog).parse_args(words)
    if given.command == "path":
        print(find_bundle(given.name, given.bundles).resolve())
        return 0
    if given.command == "download":
        print(download_bundle(given.name, given.output_dir or user_bundles(), given.revision))
        return 0
    available = list_bundles(given.bundles)
    if not available:
        raise InputError(f"no bundles in {', '.join(map(str, search_folders(given.bundles)))}")
    if given.command == "list":
        width = max(len(bundle.name) for bundle in available)
        for bundle in available:
            print(f"{bundle.name:<{width}}  {bundle.version:<7}  {bundle.folder}  {bundle.task}")
        return 0
    names = given.names or [bundle.name for bundle in available]
    for name in names:
        print(export_bundle(find_bundle(name, given.bundles), given.output_dir or user_bundles()))
    return 0


def export_bundle(bundle: Path, output_dir: Path) -> Path:
    """Copy a bundle into a folder; return the copy's folder.

    Raises:
        InputError: the destination exists and is not a bundle, or cannot be written.
    """
    target = output_dir / bundle.resolve().name
    if target.resolve() == bundle.resolve():
        raise InputError(f"{target}: this is the bundle itself; give another --output_dir")
    if target.exists() and not (target / "configs/metadata.json").is_file():
        raise InputError(f"{target}: exists and is not a bundle; it was not overwritten")
    beside = target.with_name(f".{target.name}.export")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for part in PARTS:
            if (bundle / part).is_dir():
                shutil.copytree(bundle / part, beside / part)
        if (bundle / "LICENSE").is_file():
            shutil.copy(bundle / "LICENSE", beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from error
    return target
