"""Where bundles are: found by name, from the repository and from an installed wheel.

A bundle is a folder with ``configs/metadata.json``. One is looked for in the folder that the caller names, then in
``CARDIAC_MOTION_BUNDLES`` (folders, separated as in ``PATH``), in ``bundles`` of the current folder, in the repository
that the package is installed from, and in the user's data folder, where ``cardiac-motion bundles export`` and
``download`` put them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from cardiac_motion.core.command import suggest_name
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

VARIABLE = "CARDIAC_MOTION_BUNDLES"
METADATA = Path("configs/metadata.json")
REPOSITORY = Path(__file__).resolve().parents[3]
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
GET = "cardiac-motion bundles export --output_dir DIR (in the repository) or cardiac-motion bundles download OWNER/NAME"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was found.

    Attributes:
        name: of its folder.
        folder: that holds ``configs``, ``models`` and ``docs``.
        version: of its metadata.
        task: what it is for, in its metadata's words.
    """

    name: str
    folder: Path
    version: str
    task: str


def user_bundles() -> Path:
    """The user's data folder for bundles."""
    return user_data_path("cardiac_motion", appauthor=False) / "bundles"


def search_folders(folder: str | Path | None = None) -> list[Path]:
    """Folders in which bundles are looked for, in this order; those that don't exist are among them.

    Args:
        folder: looked in alone, where the caller names one.
    """
    if folder is not None:
        return [Path(folder)]
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    repository = [REPOSITORY / "bundles"] if (REPOSITORY / "pyproject.toml").is_file() else []
    return list(dict.fromkeys([*named, Path("bundles"), *repository, user_bundles()]))


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle."""
    return (folder / METADATA).is_file()


def list_bundles(folder: str | Path | None = None) -> list[Bundle]:
    """All bundles that are found, by name; of several of one name the first that is found.

    Args:
        folder: looked in alone, where the caller names one.

    Raises:
        InputError: a bundle's metadata is no JSON.
    """
    found: dict[str, Bundle] = {}
    for place in search_folders(folder):
        for path in _bundle_folders(place):
            found.setdefault(path.name, _describe(path))
    return [found[name] for name in sorted(found)]


def _bundle_folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.iterdir() if is_bundle(path))


def _describe(folder: Path) -> Bundle:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / METADATA}: no JSON ({error})") from error
    return Bundle(folder.name, folder, str(metadata.get("version", "")), str(metadata.get("task", "")))


def find_bundle(name: str | Path, folder: str | Path | None = None) -> Path:
    """The folder of a bundle.

    Args:
        name: of the bundle; or a path of its folder; or ``owner/name`` of a Hugging Face repository, which is
            downloaded to the cache of ``huggingface_hub`` unless it is there.
        folder: that holds bundles, looked in alone; None looks in ``search_folders()``.

    Raises:
        InputError: it is not found; the line says where it was looked for, and how to get bundles.
    """
    path = Path(name)
    if is_bundle(path):
        return path
    places = search_folders(folder)
    for place in places:
        if is_bundle(place / path):
            return place / path
    if HUB_NAME.fullmatch(str(name)) and folder is None and not path.parent.exists():
        return download_bundle(str(name))
    known = [bundle.name for bundle in list_bundles(folder)]
    if known:
        raise InputError(
            f"{name}: no bundle of this name; there are {', '.join(known)}{suggest_name(str(name), known)}"
        )
    looked = ", ".join(str(place) for place in places)
    raise InputError(
        f"{name}: no bundles in {looked}; name their folder by --bundles DIR or {VARIABLE}, or get them: {GET}"
    )


def download_bundle(repository: str, output_dir: str | Path | None = None, revision: str | None = None) -> Path:
    """Download a bundle from Hugging Face.

    Args:
        repository: ``owner/name``, whose root or one folder of which is the bundle.
        output_dir: a folder of this name is made in it; None keeps it in the cache of ``huggingface_hub``.
        revision: branch, tag or commit; None is the main branch.

    Returns:
        the bundle's folder.

    Raises:
        InputError: ``huggingface_hub`` is not installed, the download fails, or what is there is no bundle.
    """
    hub = import_extra("huggingface_hub", f"the bundle {repository} of Hugging Face")
    target = None if output_dir is None else Path(output_dir) / repository.rpartition("/")[2]
    try:
        got = Path(hub.snapshot_download(repository, revision=revision, local_dir=target))
    except Exception as error:
        raise InputError(f"{repository}: cannot be downloaded ({' '.join(str(error).split())[:200]})") from error
    inside = [path for path in (got, *sorted(got.iterdir())) if is_bundle(path)]
    if not inside:
        raise InputError(f"{repository}: holds no bundle, no {METADATA}")
    return inside[0]
