"""Test and retest of made-up beats."""

import csv
import json

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.validation.repeatability import (
    RetestPair,
    compare_beats,
    compare_halves,
    main,
    summarise,
    territory_of,
)
from cardiac_motion.ventricle.views import APICAL, LEVELS, RING


def beat(view, gls, shift=0.0, rejected=()):
    segments = [
        {"name": name, "end_systolic": None if name in rejected else -20.0 - k + shift}
        for k, name in enumerate(APICAL[view].segments())
    ]
    return {"numbers": {"gls": gls, "ejection_fraction": 60.0, "long_axis_strain": None}, "segments": segments}


def differences(pairs, quantity):
    return [pair.difference for pair in pairs if pair.quantity == quantity]


def test_beats_of_a_cine_are_compared_number_by_number_and_segment_by_segment():
    one = {"beats": [beat("apical_4ch", -20.0), beat("apical_4ch", -18.5, 1.0, ("mid inferoseptal",))]}
    alone = {"beats": [beat("apical_2ch", -20.0)]}
    pairs = compare_beats([one, alone])
    assert differences(pairs, "GLS of a view") == [1.5]
    assert differences(pairs, "EF of a view") == [0.0]
    assert not differences(pairs, "long-axis strain of a view")
    assert differences(pairs, "segment") == [1.0] * 5
    assert differences(pairs, "wall (up to three segments)") == [1.0, 1.0]


def test_halves_of_a_study_have_a_mean_gls_and_three_territories():
    views = ("apical_4ch", "apical_2ch", "apical_long_axis")
    study = [{"beats": [beat(view, -20.0), beat(view, -20.0 + k, k)]} for k, view in enumerate(views)]
    pairs = compare_halves(study)
    assert differences(pairs, "GLS of a study's half") == [1.0]
    lad = differences(pairs, "LAD territory of a study's half")[0]
    assert lad == pytest.approx((0 + 3 * 1 + 3 * 2) / 7)  # apical inferoseptal, anterior, anteroseptal
    assert len(pairs) == 4
    assert not compare_halves(study[:1])


def test_every_segment_has_a_territory():
    names = [territory_of(f"{level} {wall}") for level in LEVELS for wall in RING]
    assert {name: names.count(name) for name in set(names)} == {"LAD": 7, "RCA": 5, "LCX": 6}
    with pytest.raises(InputError, match="no segment"):
        territory_of("basal roof")


def test_the_minimal_detectable_change_is_that_of_the_within_subject_deviation():
    row = summarise([RetestPair("x", 0.0, d) for d in (3.0, -4.0)])[0]
    within = ((9 + 16) / 4) ** 0.5
    assert row["minimal detectable change (95 %)"] == pytest.approx(1.96 * 2**0.5 * within)
    assert row["mean difference"] == -0.5 and row["MAE"] == 3.5
    assert summarise([RetestPair("x", 0.0, 0.1)])[0]["minimal detectable change (95 %)"] is None


def test_the_command_writes_the_table(tmp_path, capsys):
    for name, view in (("a", "apical_4ch"), ("b", "apical_2ch")):
        (tmp_path / name).mkdir()
        content = {"beats": [beat(view, -20.0), beat(view, -19.0)]}
        (tmp_path / name / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    main([str(tmp_path), "--csv", str(tmp_path / "table.csv")])
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["quantity"] == "GLS of a view" and float(rows[0]["minimal detectable change (95 %)"]) == 1.96
    assert "GLS of a study's half" in capsys.readouterr().out


def test_a_folder_without_two_beats_is_refused(tmp_path):
    with pytest.raises(InputError, match="no results of strain_pipeline"):
        main([str(tmp_path)])
    (tmp_path / "a").mkdir()
    content = {"beats": [beat("apical_4ch", -20.0)]}
    (tmp_path / "a/summary.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="no cine with two measured beats"):
        main([str(tmp_path)])
