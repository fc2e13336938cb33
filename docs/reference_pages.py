"""Pages of options and of output files, generated.

``docs/options.md`` comes from the bundles' configurations and the descriptions in
``common/cardiac_motion/bundle/options.json``, ``docs/outputs.md`` from ``docs/outputs.json`` (files and columns, each
with unit and definition) and the limits of the quality checks. Tests compare the files and columns with what is
written.

``python docs/reference_pages.py write`` generates both; ``check`` fails where a page differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import config_files
from cardiac_motion.bundle.described_options import (
    DescribedOption,
    describe_options,
    format_default,
    read_descriptions,
)
from cardiac_motion.strain_pipeline.quality.checks import LIMITS

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = ROOT / "docs/outputs.json"
COMMON = 12  # bundles that have an option with one meaning: it is listed once

OPTIONS_HEAD = """# Options

For readers who change a setting: the options of each bundle, with units and defaults. They are given as `--NAME VALUE`
to `cardiac-motion`, `python -m monai.bundle run` or `cardiac-motion cohort`, or as keywords of
[the Python API](python.md). `--config FILE` adds files of the bundle, which change defaults and may add options
(`cardiac-motion VERB --config FILE --help` lists them). An argument of one component is given by its path, such as
`--evaluator#radius 4`; lists are written as `"[1, 2]"`. This page is generated from the configurations.

## Options of most bundles
"""
TRAINING_HEAD = """## Training and presets

Options of the files that train (`train*.json`) or change a method; their values stand at the top of each file.
"""
OUTPUTS_HEAD = """# Output files and columns

For readers of the results: every file that is written, and every column and key with unit, sign, definition and source.
`DIR/<case>/` holds the files of a case, `DIR` those of a list. Values that a file does not provide are empty (CSV) or
null (JSON). Errors are measured − true. `NAME@1/4` is a metric after an earlier scale of a multi-scale method.
This page is generated, and tested against what is written.

## Files
"""
CHECKS_HEAD = """## Quality checks

Of `strain_pipeline`. A value outside the limits rejects the case or the beat, or removes heart rate and times. The view
is checked as well: its probability (`--view_threshold`), its lead over the next view, and whether the frames resemble
those of the training.

| check | min | max | unit | consequence |
|---|---:|---:|---|---|"""


def read_outputs() -> dict[str, Any]:
    """Return the described files and columns."""
    found: dict[str, Any] = json.loads(OUTPUTS.read_text(encoding="utf-8"))
    return found


def write_options() -> str:
    """Return the page of options: those of most bundles once, then those of each bundle, then those of trainings."""
    inference = {path.parents[1].name: describe_options(config_files(path.parents[1]))
                 for path in sorted(ROOT.glob("bundles/*/configs/inference.json"))}  # fmt: skip
    having: dict[str, list[str]] = {}
    for name, options in inference.items():
        for option in options:
            having.setdefault(option.name, []).append(name)
    shared = {name for name, bundles in having.items() if len(bundles) >= COMMON}
    lines = [OPTIONS_HEAD]
    lines += _table([next(o for o in inference[having[name][0]] if o.name == name) for name in sorted(shared)], False)
    for name, options in inference.items():
        lines += [f"## {name}", "", *_table([option for option in options if option.name not in shared])]
    others = {name: entry for name, entry in sorted(read_descriptions().items()) if name not in having}
    lines += [TRAINING_HEAD]
    lines += _table([DescribedOption(n, None, e.get("about", ""), e.get("unit", "")) for n, e in others.items()], False)
    return "\n".join(lines)


def _table(options: list[DescribedOption], defaults: bool = True) -> list[str]:
    if not options:
        return ["None of its own.", ""]
    head = "| option | default | unit | meaning |" if defaults else "| option | unit | meaning |"
    lines = [head, "|---" * head.count(" | ") + "|---|"]
    for option in options:
        default = f" {_cell(format_default(option.default))} |" if defaults else ""
        lines.append(f"| `{option.name}` |{default} {_cell(option.unit)} | {_cell(option.about)} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_outputs() -> str:
    """Return the page of output files, columns and quality checks."""
    found = read_outputs()
    lines = [OUTPUTS_HEAD]
    for group, files in found["files"].items():
        lines += [f"### {group}", "", "| file | content |", "|---|---|"]
        lines += [f"| {', '.join(f'`{n}`' for n in names.split(', '))} | {about} |" for names, about in files.items()]
        lines.append("")
    for group, columns in found["columns"].items():
        lines += [f"## {group}", "", "| name | unit | definition |", "|---|---|---|"]
        lines += [f"| `{name}` | {unit} | {about} |" for name, (unit, about) in columns.items()]
        lines.append("")
    lines += [CHECKS_HEAD]
    for name, (low, high, unit, consequence) in LIMITS.items():
        limits = " | ".join("" if value is None else f"{value:g}" for value in (low, high))
        lines.append(f"| {name} | {limits} | {unit} | {consequence} |")
    return "\n".join([*lines, ""])


PAGES: Mapping[str, Callable[[], str]] = {"options.md": write_options, "outputs.md": write_outputs}


def main(words: list[str]) -> int:
    """Write or check the pages; the exit code is the number of pages that differ."""
    if words not in (["write"], ["check"]):
        print("usage: python docs/reference_pages.py write|check", file=sys.stderr)
        return 2
    different = 0
    for name, generate in PAGES.items():
        page, text = ROOT / "docs" / name, generate()
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            different += 1
            print(page.relative_to(ROOT))
            if words == ["write"]:
                page.write_text(text, encoding="utf-8")
    return different if words == ["check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
