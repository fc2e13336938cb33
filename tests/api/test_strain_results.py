"""A measured cine as values with types; the whole way is run by docs/python.md's example."""

import dataclasses

import pytest

from cardiac_motion.api import strain_results
from cardiac_motion.api.strain_results import StrainResult, measure_strain, measure_study
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.conftest import moving_cine
from tests.strain_pipeline.known import strain_case


def test_numbers_are_those_of_the_case():
    study = strain_case()
    result = StrainResult(study)
    assert result.gls == study.measured.means["gls"] == pytest.approx(-20.0, abs=0.2)
    assert result.intervals == study.measured.intervals and result.view.name == "apical_4ch"
    assert [s.name for s in result.segments] == list(study.view.view.segments(False))
    rows = study.measured.beats[0]["segments"]
    assert [s.strain for s in result.segments] == [row["end_systolic"] for row in rows]
    assert all(s.rejected is None and s.interval[0] < s.strain < s.interval[1] for s in result.segments if s.interval)
    assert result.beats == study.measured.beats and result.warnings == study.warnings
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.study = None


def test_a_report_is_written_where_it_is_asked_for(tmp_path):
    path = StrainResult(strain_case(), {"motion": "model.pt"}).report(tmp_path / "patient")
    assert path == tmp_path / "patient/report.html" and "model.pt" in path.read_text(encoding="utf-8")
    assert (path.parent / "summary.json").is_file() and (path.parent / "movie.mp4").is_file()


class Evaluator:
    """One that measures whatever it is given as a known wall."""

    weights, options = {"view": "v"}, {"seed": 0}

    def __init__(self, cases):
        self.dataset = Cases(cases)

    def choose(self):
        self.dataset = Cases(self.dataset.cases[:1])

    def measure_case(self, case):
        return case


class Cases:
    study = True

    def __init__(self, cases):
        self.cases = cases
        self.entries = [{"case": case.case.name} for case in cases]

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        return self.cases[index]


def test_a_study_gives_the_best_cine_of_each_view_and_one_cine_is_asked_for_alone(monkeypatch):
    evaluator = Evaluator([strain_case(), strain_case()])
    monkeypatch.setattr(strain_results, "make_evaluator", lambda *_: evaluator)
    with pytest.raises(InputError, match=r"2 cases \(known, known\); expected one"):
        measure_strain("study")
    found = measure_study("study")
    assert list(found) == ["apical_4ch"] and found["apical_4ch"].weights == {"view": "v"}


def test_a_cine_of_no_heart_is_refused(tmp_path):
    write_cine(tmp_path / "cine.nii.gz", moving_cine(3, (64, 72))[0][None])
    with pytest.raises(InputError, match=r"cine\.nii\.gz"):
        measure_strain(tmp_path / "cine.nii.gz")
    with pytest.raises(InputError, match="no option --viev; did you mean --view"):
        measure_strain(tmp_path / "cine.nii.gz", viev="apical_4ch")
