"""Pages of the site that lie elsewhere or are generated: the bundles' READMEs and the reference of each package.

A hook of MkDocs. Links of a page that lead out of the site (to code, weights, licences) become plain text.
"""

from __future__ import annotations

import ast
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = ("strain_pipeline", "cpwc_echo", "nmsr_echo", "ssmsr_hippocampus", "dis", "farneback", "ilk", "tvl1",
           "fft_xcorr", "greedy", "ants_syn", "fireants", "convexadam", "voxelmorph", "neurreg",
           "niftyreg")  # fmt: skip
PAGES = {f"bundles/{name}/docs/README.md": f"bundles/{name}.md" for name in BUNDLES}
TRAININGS = {f"bundles/{p.parents[1].name}/docs/TRAINING.md": f"bundles/{p.parents[1].name}_training.md"
             for p in sorted(ROOT.glob("bundles/*/docs/TRAINING.md"))}  # fmt: skip
MORE = {**TRAININGS, "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}  # fmt: skip
PACKAGES = ("api", "fields", "registration", "cine", "volume", "ventricle", "networks", "comparators", "haemodynamics",
            "strain_pipeline", "lv_blood_flow", "evaluation", "simulation", "training", "cohort", "compare", "prove",
            "command", "bundle", "workbench", "serving", "core")  # fmt: skip
LARGEST = 42_000  # bytes of source of a page, which becomes some 3.3 times as many of HTML: under 200 kB
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def summary(module: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


@dataclass(frozen=True)
class ReferencePage:
    """A page of the reference: a package, a sub-package, or a part of a large one.

    Attributes:
        package: dotted name below ``cardiac_motion``.
        paths: its modules.
        part: 1 for the first page of the package, which lists the modules of all parts.
        all_parts: the modules of each part.
    """

    package: str
    paths: list[Path]
    part: int
    all_parts: list[list[Path]]

    @property
    def file(self) -> str:
        """Name of the page's file."""
        return name_file(self.package, self.part)

    @property
    def title(self) -> str:
        """Title in the navigation."""
        names = list(dict.fromkeys((self.paths[0].stem, self.paths[-1].stem))) if len(self.all_parts) > 1 else []
        return f"cardiac_motion.{self.package}{': ' if names else ''}{' to '.join(names)}"

    def to_markdown(self) -> str:
        """Return the page: what its modules are, then everything public in them."""
        folder = ROOT / "common/cardiac_motion" / self.package.replace(".", "/")
        lines = [f"# {self.title}", "", summary(folder / "__init__.py"), ""]
        parts = enumerate(self.all_parts, 1) if self.part == 1 else [(self.part, self.paths)]
        for number, paths in parts:
            place = "" if number == self.part else name_file(self.package, number)
            for path in paths:
                anchor = f"cardiac_motion.{self.package}.{path.stem}"
                lines.append(f"- [`{path.stem}`]({place}#{anchor}): {summary(path)}")
        further = [path.parent.name for path in sorted(folder.glob("*/__init__.py"))] if self.part == 1 else []
        for name in further:
            target = name_file(f"{self.package}.{name}", 1)
            lines.append(f"- [`{name}`]({target}): {summary(folder / name / '__init__.py')}")
        return "\n".join([*lines, "", *(f"::: cardiac_motion.{self.package}.{path.stem}\n" for path in self.paths)])


def name_file(package: str, part: int) -> str:
    """Name of the file of a part of a package's page."""
    return f"{package}.md" if part == 1 else f"{package}.{part}.md"


def list_reference() -> list[ReferencePage]:
    """The pages of the reference: packages and sub-packages, large ones in parts."""
    pages = []
    for package in PACKAGES:
        folder = ROOT / "common/cardiac_motion" / package
        for place in [folder, *sorted(path.parent for path in folder.rglob("*/__init__.py"))]:
            name = ".".join([package, *place.relative_to(folder).parts])
            parts: list[list[Path]] = [[]]
            for path in sorted(place.glob("*.py")):
                if path.stem.startswith("_"):
                    continue
                if parts[-1] and sum(one.stat().st_size for one in [*parts[-1], path]) > LARGEST:
                    parts.append([])
                parts[-1].append(path)
            for number, paths in enumerate(parts, 1):
                if paths or "." not in name:
                    pages.append(ReferencePage(name, paths, number, parts))
    return pages


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    trainings = {source.split("/")[1]: page for source, page in TRAININGS.items()}
    bundles: list[Any] = []
    for name, page in zip(BUNDLES, PAGES.values(), strict=True):
        bundles.append({name: page})
        if name in trainings:
            bundles.append({f"{name}: training": trainings[name]})
    packages = [{page.title.removeprefix("cardiac_motion."): f"reference/{page.file}"} for page in list_reference()]
    for entry in config.nav:
        for title, target in entry.items():
            if target == "BUNDLES":
                entry[title] = bundles
            elif isinstance(target, list) and "REFERENCE" in target:
                entry[title] = [*(part for part in target if part != "REFERENCE"), *packages]
    pages = [("Contributing", "contributing.md"), ("Changes", "changelog.md")]
    config.nav.append({"Project": [{title: page} for title, page in pages]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside of ``docs`` or are generated."""
    for source, page in {**PAGES, **MORE}.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in list_reference():
        files.append(File.generated(config, f"reference/{page.file}", content=page.to_markdown()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links between pages lead to the site's pages, and those out of the site be text."""
    places = {page_in_site: source for source, page_in_site in {**PAGES, **MORE}.items()}
    here = page.file.src_uri
    source = places.get(here, f"docs/{here}")
    targets = {**PAGES, **MORE}

    def replaced(found: re.Match[str]) -> str:
        mark, text, target, anchor = found.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        if here.startswith("reference/"):
            return found[0]
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = targets.get(whole, whole.removeprefix("docs/") if whole.startswith("docs/") else "")
        if inside and files.get_file_from_path(inside) is not None:
            return f"{mark}[{text}]({posixpath.relpath(inside, posixpath.dirname(here) or '.')}{anchor or ''})"
        if not (ROOT / whole).exists():
            raise ValueError(f"{source}: {target} leads nowhere")
        return text

    return LINK.sub(replaced, markdown)
