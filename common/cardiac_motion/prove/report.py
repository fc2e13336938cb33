"""Tables of the measurements: one row per method, one column per pair."""

from __future__ import annotations

from collections.abc import Sequence

from cardiac_motion.prove.measurement import Row

CHOSEN = {
    "CAMUS, end-diastole to end-systole": "Settings of the refined method were chosen on patients of the train list; "
    "nothing was chosen on these patients.",
    "Learn2Reg Hippocampus MR, unseen pairs": "Settings were chosen on other volumes of the same data set; nothing was "
    "chosen on these pairs, and no network was trained on their volumes.",
}  # what was chosen on which data, where it is not: nothing


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the tables of all data sets, with the seconds of each method and the reasons for missing values.

    Examples:
        >>> print(to_markdown([Row("particles", "a", "DIS", "RMS error, px", 0.125, 0.5)]))
        **particles** (RMS error, px)
        <BLANKLINE>
        | method | a | processor seconds a pair |
        | --- | ---: | ---: |
        | DIS | 0.125 | 0.50 |
        <BLANKLINE>
        Nothing was chosen on these data.
        <BLANKLINE>
    """
    lines: list[str] = []
    for data, measure in dict.fromkeys((row.data, row.measure) for row in rows):
        part = [row for row in rows if (row.data, row.measure) == (data, measure)]
        cases = list(dict.fromkeys(row.case for row in part))
        lines += [f"**{data}** ({measure})", ""]
        lines.append(f"| method | {' | '.join(cases)} | processor seconds a pair |")
        lines.append("| --- |" + " ---: |" * (len(cases) + 1))
        for method in dict.fromkeys(row.method for row in part if row.value is not None):
            by_case = {row.case: row for row in part if row.method == method}
            values = [by_case[case].value if case in by_case else None for case in cases]
            seconds = [row.seconds for row in by_case.values() if row.seconds is not None]
            cells = ["–" if value is None else f"{value:.3f}" for value in values]
            mean_seconds = f"{sum(seconds) / len(seconds):.2f}" if seconds else "–"
            lines.append(f"| {method} | {' | '.join(cells)} | {mean_seconds} |")
        lines += ["", CHOSEN.get(data, "Nothing was chosen on these data."), ""]
        for note in dict.fromkeys(f"{row.method}: {row.note}" for row in part if row.note and row.value is None):
            lines.append(f"- not measured: {note}")
        lines += [""] if lines[-1] else []
    return "\n".join(lines)
