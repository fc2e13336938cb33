"""A folder of cines for the tests of lists."""

import json

import pytest

from tests.bundles.running import ROOT
from tests.cohort.cines import CASES, write_cines


@pytest.fixture
def cines(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "cines"
    folder.mkdir()
    write_cines(folder)
    (folder / "list.json").write_text(json.dumps({"test": [f"{name}.nii.gz" for name in CASES]}), encoding="utf-8")
    return folder
