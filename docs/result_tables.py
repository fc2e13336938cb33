"""Result tables of README, docs and bundle cards, generated from ``docs/results``.

A table ``NAME`` is ``NAME.csv`` (a row a method; the first column names it) with ``NAME.json`` beside it: ``title``,
``command``, ``date``, ``commit``, ``machine``, ``selection`` (who chose what, with which data in sight), ``decimals``
(one number, or one a column) and ``best`` (``min``, ``max`` or null: which value of a column is bold). A table of
others' figures has ``title`` and ``quoted`` instead: where they were published. A table of a benchmark has no CSV:
``from`` names the ``file`` that the benchmark wrote (relative to the repository), ``rows`` (title: keys to a part of
the file, joined by dots) and ``columns`` (title: key in that part, or ``[key, factor]``).

In a page a table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``;
``<!-- table: NAME: COLUMN, COLUMN -->`` takes some columns alone and ``rows=A; B`` after them some rows.

``python docs/result_tables.py write`` generates all of them and the bundles' ``eval_metrics``; ``check`` fails
where a page or the metadata differ.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results"
METRICS = {  # name of the metric: its table, the column, the divisor, and the row of each bundle
    "mean_dice_task04_validation": ("hippocampus", "mean", 100, {
        "ssmsr_hippocampus": "SSMSR (1), one atlas", "ants_syn": "ANTs CC", "voxelmorph": "VoxelMorph",
        "neurreg": "NeurReg", "niftyreg": "B-spline free-form deformation (ours)", "convexadam": "convexAdam",
        "fireants": "FireANTs greedy", "greedy": "greedy",
    }),
    "worst_scenario_epe_mm": ("flow_networks", "worst", 1, {
        "cpwc_echo": "NCC flow", "farneback": "Farnebäck", "dis": "DIS, full resolution",
    }),
    "rms_error_px_particle_images_dns": ("particles", "DNS 1", 1, {
        "fft_xcorr": "PyMUST block matching", "ilk": "ILK", "tvl1": "TV-L1", "nmsr_echo": "nmsr_echo, `blood.json`",
    }),
    "ef_mae_camus_validation_single_frames": ("ef_camus", "MAE", 1, {"strain_pipeline": "as they are"}),
}  # fmt: skip
BLOCK = re.compile(r"(<!-- table: ([\w-]+)(?:: ([^>]*?))? -->\n)(.*?)(<!-- end of table -->)", re.S)


def read_table(name: str, folder: Path = RESULTS) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Return the rows of a table, by column, and what is said of it."""
    about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if "from" in about:
        return read_benchmark(about["from"]), about
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return rows, about


def read_benchmark(origin: dict[str, Any], root: Path = ROOT) -> list[dict[str, str]]:
    """Return the rows of a table that a benchmark wrote as JSON; a value that the file lacks is empty."""
    results = json.loads((root / origin["file"]).read_text(encoding="utf-8"))
    rows = []
    for title, keys in origin["rows"].items():
        part = results
        for key in keys.split(".") if keys else ():
            part = part[key]
        row = {"method": title}
        for column, entry in origin["columns"].items():
            key, factor = entry if isinstance(entry, list) else (entry, 1)
            value: Any = part
            for step in key.split("."):
                value = value.get(step) if isinstance(value, dict) else None
            row[column] = "" if value is None else f"{value * factor:.10g}"
        rows.append(row)
    return rows


def format_number(text: str, decimals: int | None) -> str:
    """Return a number with so many decimals and a true minus sign; other text, and an empty one, as it is.

    Examples:
        >>> format_number("-0.25", 1), format_number("", 2), format_number("3 of 5", 1)
        ('−0.2', '', '3 of 5')
    """
    try:
        number = float(text)
    except ValueError:
        return text
    return (text if decimals is None else f"{number:.{decimals}f}").replace("-", "−")


def to_markdown(name: str, columns: str = "", folder: Path = RESULTS) -> str:
    """Return a table as Markdown: values, then one line of its origin.

    Args:
        name: of the table.
        columns: names after the first column, by commas, and ``rows=A; B`` of the rows; all where empty.
        folder: of the tables.
    """
    rows, about = read_table(name, folder)
    wanted, _, chosen = (part.strip() for part in columns.partition("rows="))
    first, *others = list(rows[0])
    names = [part.strip() for part in wanted.strip(" ,;").split(",") if part.strip()] or others
    if chosen:
        titles = [title.strip() for title in chosen.split(";")]
        rows = [next(row for row in rows if row[first] == title) for title in titles]
    decimals = about.get("decimals")
    cells = []
    for row in rows:
        digits = [decimals.get(n) if isinstance(decimals, dict) else decimals for n in names]
        cells.append([format_number(row[n], d) for n, d in zip(names, digits, strict=True)])
    for column, title in enumerate(names):
        best = about.get("best")
        best = best.get(title) if isinstance(best, dict) else best
        numbers = [float(row[title]) for row in rows if _is_number(row[title])]
        if best and len(numbers) > 1:
            value = (min if best == "min" else max)(numbers)
            for row, line in zip(rows, cells, strict=True):
                if _is_number(row[title]) and float(row[title]) == value:
                    line[column] = f"**{line[column]}**"
    lines = ["| " + " | ".join([first, *names]) + " |", "|---|" + "---:|" * len(names)]
    lines += ["| " + " | ".join([row[first], *line]) + " |" for row, line in zip(rows, cells, strict=True)]
    return "\n".join([*lines, "", describe_origin(about), ""])


def describe_origin(about: dict[str, Any]) -> str:
    """Return the line under a table: what it is, when and on which commit it was measured, and what was chosen."""
    if "quoted" in about:
        return f"{about['title']}. Quoted from {about['quoted']}."
    parts = [f"{about['title']}.", f"Measured {about['date']} at `{about['commit']}`, {about['machine']}."]
    return " ".join([*parts, about["selection"]])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def generate(text: str, folder: Path = RESULTS) -> str:
    """Return a page with all its tables generated anew."""
    return BLOCK.sub(lambda m: m[1] + to_markdown(m[2], m[3] or "", folder) + m[5], text)


def measured_metrics(bundle: str) -> dict[str, float]:
    """Return what ``eval_metrics`` of a bundle's metadata is: measured values by the metric's name, from the tables."""
    values = {}
    for metric, (table, column, divisor, titles) in METRICS.items():
        if bundle in titles:
            rows, _ = read_table(table)
            row = next(row for row in rows if next(iter(row.values())) == titles[bundle])
            values[metric] = round(float(row[column]) / divisor, 4)
    return values


def list_pages() -> list[Path]:
    """Return all pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("bundles/*/docs/*.md"))]


def main(words: list[str]) -> int:
    """Write or check all pages; the exit code is the number of pages that differ."""
    if words not in (["write"], ["check"]):
        print("usage: python docs/result_tables.py write|check", file=sys.stderr)
        return 2
    different = 0
    for page in list_pages():
        text = page.read_text(encoding="utf-8")
        new = generate(text)
        if new != text:
            different += 1
            print(page.relative_to(ROOT))
            if words == ["write"]:
                page.write_text(new, encoding="utf-8")
    for file in sorted(ROOT.glob("bundles/*/configs/metadata.json")):
        metadata = json.loads(file.read_text(encoding="utf-8"))
        metrics = measured_metrics(file.parents[1].name)
        if metrics and metadata["eval_metrics"] != metrics:
            different += 1
            print(file.relative_to(ROOT))
            if words == ["write"]:
                metadata["eval_metrics"] = metrics
                file.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    return different if words == ["check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
