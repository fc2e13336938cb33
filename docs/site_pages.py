"""Pages of the site that lie elsewhere or are made: the bundles' READMEs and the reference of each package.

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
PAGES = {f"bundles/{p.parents[1].name}/docs/README.md": f"bundles/{p.parents[1].name}.md"
         for p in sorted(ROOT.glob("bundles/*/docs/README.md"))}  # fmt: skip
TRAININGS = {f"bundles/{p.parents[1].name}/docs/TRAINING.md": f"bundles/{p.parents[1].name}_training.md"
             for p in sorted(ROOT.glob("bundles/*/docs/TRAINING.md"))}  # fmt: skip
MORE = {**TRAININGS, "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}  # fmt: skip
PACKAGES = ("fields", "ventricle", "registration", "cine", "volume", "networks", "comparators", "haemodynamics",
            "evaluation", "strain_pipeline", "lv_blood_flow", "simulation", "training", "cohort", "compare", "bundle",
            "serving", "core")  # fmt: skip
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def summary(module: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def reference(package: str) -> str:
    """The page of a package: what its modules are, then everything public in them."""
    folder = ROOT / "common/cardiac_motion" / package
    modules = {
        ".".join(["cardiac_motion", package, *path.relative_to(folder).with_suffix("").parts]): path
        for path in sorted(folder.rglob("*.py"))
        if not path.stem.startswith("_")
    }
    lines = [f"# cardiac_motion.{package}", "", summary(folder / "__init__.py"), ""]
    lines += [f"- [`{name.split('.', 2)[2]}`](#{name}): {summary(path)}" for name, path in modules.items()]
    return "\n".join([*lines, "", *(f"::: {name}\n" for name in modules)])


def on_config(config: Any) -> Any:
    """Put the pages that are made into the navigation."""
    made = {
        "BUNDLES": [{Path(page).stem: page} for page in PAGES.values()],
        "REFERENCE": [{f"cardiac_motion.{name}": f"reference/{name}.md"} for name in PACKAGES],
    }
    for entry in config.nav:
        for title, target in entry.items():
            entry[title] = made.get(target, target) if isinstance(target, str) else target
    pages = [("Changes", "changelog.md"), ("Contributing", "contributing.md"), ("Mutation testing", "mutation.md")]
    config.nav.append({"Project": [{title: page} for title, page in pages]})
    for page in TRAININGS.values():
        config.nav[-3]["Bundles"].append({page.removeprefix("bundles/").replace("_training.md", ": training"): page})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside of ``docs`` or are made."""
    for source, page in {**PAGES, **MORE}.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for package in PACKAGES:
        files.append(File.generated(config, f"reference/{package}.md", content=reference(package)))
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
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = targets.get(whole, whole.removeprefix("docs/") if whole.startswith("docs/") else "")
        if inside and files.get_file_from_path(inside) is not None:
            return f"{mark}[{text}]({posixpath.relpath(inside, posixpath.dirname(here) or '.')}{anchor or ''})"
        if not (ROOT / whole).exists():
            raise ValueError(f"{source}: {target} leads nowhere")
        return text

    return LINK.sub(replaced, markdown)
