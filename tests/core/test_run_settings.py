"""The digest of a run's settings changes with all that results depend on, and with nothing else."""

import json

import pytest

from cardiac_motion.core import run_settings
from cardiac_motion.core.run_settings import digest_of, note_settings, noted_case_settings, noted_settings


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(run_settings, "_noted", [])
    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.pt").write_bytes(b"weights")
    (tmp_path / "models/other.pt").write_bytes(b"not named")
    path = tmp_path / "configs/inference.json"
    path.write_text(json.dumps({"steps": 3, "checkpoint": "models/model.pt"}), encoding="utf-8")
    return path


def test_without_a_command_nothing_is_noted(config):
    assert noted_settings() is None


def test_options_with_an_effect_count(config):
    note_settings([config], {"steps": 4, "output_dir": "a"})
    first = noted_settings()
    note_settings([config], {"steps": 4, "output_dir": "b", "mlflow": False})
    assert noted_settings() == first
    note_settings([config], {"steps": 5})
    assert noted_settings() != first


def test_the_files_and_the_weights_that_they_name_count(config):
    first = digest_of([config], "")
    (config.parents[1] / "models/other.pt").write_bytes(b"changed")
    config.write_text(json.dumps({"checkpoint": "models/model.pt", "steps": 3}, indent=4), encoding="utf-8")
    assert digest_of([config], "") == first
    (config.parents[1] / "models/model.pt").write_bytes(b"trained on")
    assert digest_of([config], "") != first


def test_the_settings_of_a_case_are_the_same_in_each_list(config):
    note_settings([config], {"steps": 4, "input": "a.dcm", "save_figures": False})
    first = noted_case_settings()
    note_settings([config], {"steps": 4, "datalist": "list.json", "fold": "test"})
    assert noted_case_settings() == first
    note_settings([config], {"steps": 5, "input": "a.dcm"})
    assert noted_case_settings() != first
