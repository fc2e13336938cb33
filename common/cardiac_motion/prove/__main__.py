"""``python -m cardiac_motion.prove --data DIR``: evaluate on public data, together with other methods in the same run.

``DIR`` contains the repositories listed in ``docs/proof.md``, cloned to ``DIR/owner/name``. Nothing was tuned on these
data. ``results.csv`` has one row per method and pair, ``results.md`` the tables. If files of a part are missing, the
first missing file is listed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.prove import dense, hippocampus, labels, planar
from cardiac_motion.prove.measurement import BundleMethod, Registration, Row, load_methods
from cardiac_motion.prove.report import to_markdown

Measure = Callable[[Path, Mapping[str, Registration], Mapping[str, str]], list[Row]]
PARTS: Mapping[str, tuple[Sequence[BundleMethod], Measure]] = {
    "planar": (planar.METHODS, planar.measure_pairs),
    "vortices": (planar.METHODS, planar.measure_vortices),
    "dense": (planar.METHODS, dense.measure_dense),
    "hippocampus": (hippocampus.METHODS, hippocampus.measure_scans),
    "camus": (labels.CAMUS_METHODS, labels.measure_camus),
    "task04": (labels.TASK04_METHODS, labels.measure_task04),
}


def make_parser(prog: str = "python -m cardiac_motion.prove") -> CommandParser:
    """Build the parser."""
    parser = CommandParser(prog=prog, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the cloned repositories (docs/proof.md)")
    parser.add_argument("--output_dir", type=Path, default=Path("output/proof"), help="folder of the tables")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS), help="what to measure")
    parser.add_argument("--methods", nargs="+", help="titles of the methods to run (default: all)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="folder of the bundles")
    return parser


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.prove") -> None:
    """Read the command line, measure, and write the tables."""
    options = make_parser(prog).parse_args(words)
    try:
        if not options.data.is_dir():
            raise InputError(f"--data {options.data}: no such folder")
        rows = []
        for name in options.parts:
            methods, measure = PARTS[name]
            wanted = [m for m in methods if options.methods is None or m.title in options.methods]
            rows += measure(options.data, *load_methods(wanted, options.bundles))
    except InputError as error:
        sys.exit(f"error: {error}")
    write_csv(options.output_dir / "results.csv", [vars(row) for row in rows])
    text = to_markdown(rows)
    with write_whole(options.output_dir / "results.md") as beside:
        beside.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
