"""Bundles as zips that work outside the repository (``python -m cardiac_motion.bundle.package``), and where one lies.

In the repository a bundle's configs name their folder from the repository's root (``bundles/NAME``). In its zip they
ask ``bundle_folder``, so that they run from any folder. A bundle holds what its configs name; the data lists and
pictures that its docs name come along.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole

METADATA = Path("configs/metadata.json")
LARGE = 25_000_000  # bytes: the model zoo takes no larger files
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?:\.\./)+[^)\s]+)\)")
DATA_LIST = re.compile(r"\bdata_lists/\w+\.json")
ROOT = '"bundle_root": "bundles/{name}"'
ASKED = '"bundle_root": {{"_target_": "cardiac_motion.bundle.package.bundle_folder", "name": "{name}"}}'
INSTALL = """
> Version {version} of the bundle, zipped. Install what it runs on, the wheel that lies beside the zip, and unzip. The
> commands below name the bundle's files from the folder in which it was unzipped; `--config_file` may be any path.
>
> ```bash
> python -m pip install {wheel}
> ```
"""


def bundle_folder(name: str) -> str:
    """Where the bundle lies whose configuration is being read: what a zipped bundle's ``bundle_root`` is.

    It is the folder of the command's ``--config_file``; for a program that reads the configuration itself, ``name`` in
    the working folder, or the working folder. Everywhere else the caller gives ``bundle_root``, as MONAI's hosts do.

    Args:
        name: of the bundle.

    Raises:
        InputError: it is in none of these places.
    """
    named = [os.path.normpath(Path(file).parent / "..") for file in _config_files(sys.argv)]
    for folder in (*named, name, "."):
        if (Path(folder) / METADATA).is_file():
            return folder
    raise InputError(f"bundle_root: no bundle {name} in the working folder; name its folder by --bundle_root FOLDER")


def _config_files(words: Sequence[str]) -> list[str]:
    """What ``--config_file`` names among the words of a command, one file or a list, as MONAI reads it."""
    from fire.parser import DefaultParseValue

    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option.replace("-", "_") == "__config_file":
            found = DefaultParseValue(value if equals else following)
            return [str(file) for file in (found if isinstance(found, list | tuple) else [found])]
    return []


def package(bundle: str | Path, output_dir: str | Path, wheel: str, large_files_url: str = "") -> Path:
    """Write ``NAME_vVERSION.zip``, which unzips into the folder NAME.

    Args:
        bundle: folder ``bundles/NAME`` of the repository.
        output_dir: of the zip.
        wheel: file name of the project's wheel, for the docs.
        large_files_url: address under which files above ``LARGE`` are to be hosted, as ``URL/NAME/FILE``. They are then
            written to ``output_dir/large_files/NAME`` instead of the zip, which lists them in ``large_files.yml``, as
            the model zoo wants it.

    Returns:
        The zip's path.

    Raises:
        InputError: no bundle, or a file that it names is missing.
    """
    folder = Path(bundle)
    if not (folder / METADATA).is_file():
        raise InputError(f"{folder}: no bundle, it has no {METADATA}")
    version = json.loads((folder / METADATA).read_text(encoding="utf-8"))["version"]
    content: dict[str, bytes] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = path.relative_to(folder)
        if place.parts[0] == "configs" and path.suffix == ".json":
            content[str(place)] = _config(path, folder).encode()
        elif path.suffix == ".md":
            content[str(place)] = _page(path, folder, content, wheel, version).encode()
        else:
            content[str(place)] = path.read_bytes()
    if large_files_url:
        large = {name: content.pop(name) for name, data in list(content.items()) if len(data) > LARGE}
        for name, data in large.items():
            with write_whole(Path(output_dir) / "large_files" / folder.name / name) as beside:
                beside.write_bytes(data)
        if large:
            content["large_files.yml"] = list_large_files(
                large, f"{large_files_url.rstrip('/')}/{folder.name}"
            ).encode()
    with write_whole(Path(output_dir) / f"{folder.name}_v{version}.zip") as beside:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in sorted(content.items()):
                entry = zipfile.ZipInfo(f"{folder.name}/{name}")  # of no date: the same content is the same zip
                entry.external_attr = 0o644 << 16
                file.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return Path(output_dir) / f"{folder.name}_v{version}.zip"


def list_large_files(files: Mapping[str, bytes], url: str) -> str:
    """Return the content of ``large_files.yml``, from which the model zoo downloads files.

    Args:
        files: contents by their path in the bundle.
        url: address of the folder that holds them.

    Examples:
        >>> print(list_large_files({"models/model.pt": b"weights"}, "https://example.org/bundle"))
        large_files:
        - path: models/model.pt
          url: https://example.org/bundle/models/model.pt
          hash_type: sha256
          hash_val: 9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c
        <BLANKLINE>
    """
    rows = [
        {"path": name, "url": f"{url}/{name}", "hash_type": "sha256", "hash_val": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    return yaml.safe_dump({"large_files": rows}, sort_keys=False)


def _config(path: Path, folder: Path) -> str:
    """A config whose root is asked for.

    Raises:
        InputError: it names a file of the repository that is not the bundle's own.
    """
    text = path.read_text(encoding="utf-8").replace(ROOT.format(name=folder.name), ASKED.format(name=folder.name))
    _, outside, rest = text.partition('"bundles/')
    if outside:
        file, _, _ = rest.partition('"')
        raise InputError(f"{path}: names a file outside the bundle, bundles/{file}")
    return text


def _page(path: Path, folder: Path, content: dict[str, bytes], wheel: str, version: str) -> str:
    """A page of the docs: the zip's paths in the commands, how to install, and no link that leads out of the zip."""

    def rewrite_link(found: re.Match[str]) -> str:
        if not found["picture"]:
            return found["text"]
        file = path.parent / found["target"]
        content[f"docs/images/{file.name}"] = _read_needed(file, folder)
        return f"![{found['text']}](images/{file.name})"

    text = LINK.sub(rewrite_link, path.read_text(encoding="utf-8"))
    for name in DATA_LIST.findall(text):
        content[name] = _read_needed(folder.parents[1] / name, folder)
    text = DATA_LIST.sub(lambda found: f"{folder.name}/{found[0]}", text)
    text = text.replace(f"bundles/{folder.name}/", f"{folder.name}/")
    title, _, rest = text.partition("\n")
    return f"{title}\n{INSTALL.format(wheel=wheel, version=version)}{rest}" if path.name == "README.md" else text


def _read_needed(file: Path, folder: Path) -> bytes:
    if not file.is_file():
        raise InputError(f"{folder}: names {file}, which is not there")
    return file.read_bytes()


def main(words: Sequence[str] | None = None) -> None:
    """Zip the bundles of the repository, from its root, beside the wheel that is in ``--output_dir`` already."""
    parser = CommandParser(prog="python -m cardiac_motion.bundle.package", description=main.__doc__)
    parser.add_argument("bundles", nargs="*", type=Path, help="folders; all of bundles/ without")
    parser.add_argument("--output_dir", type=Path, default=Path("dist"), help="default: dist")
    parser.add_argument(
        "--large_files_url", default="", help="where files above 25 MB are hosted; they are left out of the zips then"
    )
    options = parser.parse_args(words)
    try:
        wheels = sorted(options.output_dir.glob("*.whl"), key=lambda path: path.stat().st_mtime)
        if not wheels:
            raise InputError(f"{options.output_dir}: holds no wheel; make it by python -m build --outdir FOLDER")
        found = options.bundles or sorted(file.parents[1] for file in Path("bundles").glob(f"*/{METADATA}"))
        if not found:
            raise InputError("bundles: no such folder here; run this from the repository's root")
        for bundle in found:
            print(package(bundle, options.output_dir, wheels[-1].name, options.large_files_url))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
