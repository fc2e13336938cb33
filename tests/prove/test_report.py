"""The tables: a column a pair, means of seconds, reasons once."""

from cardiac_motion.prove.measurement import Row
from cardiac_motion.prove.report import to_markdown


def test_values_seconds_and_reasons():
    rows = [
        Row("d", "a", "m", "px", 0.5, 1.0), Row("d", "b", "m", "px", 0.25, 3.0), Row("d", "a", "n", "px", 1.0),
        Row("d", "a", "o", "px", None, note="no x"), Row("d", "b", "o", "px", None, note="no x"),
    ]  # fmt: skip
    lines = to_markdown(rows).splitlines()
    assert "| m | 0.500 | 0.250 | 2.00 |" in lines and "| n | 1.000 | – | – |" in lines
    assert [line for line in lines if "not measured" in line] == ["- not measured: o: no x"]


def test_every_table_says_what_was_chosen_on_its_data():
    titles = ("particle images", "CAMUS, end-diastole to end-systole")
    lines = to_markdown([Row(title, "a", "m", "px", 0.5) for title in titles]).splitlines()
    said = [line for line in lines if "chosen" in line]
    assert said[0] == "Nothing was chosen on these data." and "train list" in said[1] and len(said) == 2
