"""Pages of the site that lie elsewhere or are generated: the bundles' READMEs and the reference of each package.

A hook of MkDocs. Links of a page that lead out of the site (to code, weights, licences) become plain text.
"""

from __future__ import annotations

import ast
import posixpath
import re
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
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def summary(module: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def list_reference() -> dict[str, list[Path]]:
    """The pages of the reference: each package and each sub-package, with its modules."""
    found = {}
    for package in PACKAGES:
        folder = ROOT / "common/cardiac_motion" / package
        for part in [folder, *sorted(path.parent for path in folder.rglob("*/__init__.py"))]:
            name = ".".join([package, *part.relative_to(folder).parts])
            found[name] = [path for path in sorted(part.glob("*.py")) if not path.stem.startswith("_")]
    return {name: modules for name, modules in found.items() if modules or "." not in name}


def reference(package: str, paths: list[Path]) -> str:
    """The page of a package: what its modules are, then everything public in them."""
    folder = ROOT / "common/cardiac_motion" / package.replace(".", "/")
    modules = {f"cardiac_motion.{package}.{path.stem}": path for path in paths}
    lines = [f"# cardiac_motion.{package}", "", summary(folder / "__init__.py"), ""]
    lines += [f"- [`{name.rsplit('.', 1)[1]}`](#{name}): {summary(path)}" for name, path in modules.items()]
    further = [path.parent.name for path in sorted(folder.glob("*/__init__.py"))]
    lines += [f"- [`{name}`]({package}.{name}.md): {summary(folder / name / '__init__.py')}" for name in further]
    return "\n".join([*lines, "", *(f"::: {name}\n" for name in modules)])


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    trainings = {source.split("/")[1]: page for source, page in TRAININGS.items()}
    bundles: list[Any] = []
    for name, page in zip(BUNDLES, PAGES.values(), strict=True):
        bundles.append({name: page})
        if name in trainings:
            bundles.append({f"{name}: training": trainings[name]})
    packages = [{f"cardiac_motion.{name}": f"reference/{name}.md"} for name in list_reference()]
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
    for package, modules in list_reference().items():
        files.append(File.generated(config, f"reference/{package}.md", content=reference(package, modules)))
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
