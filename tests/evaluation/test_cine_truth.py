"""The truth that an entry of a simulated cine carries, whatever kind it was read as."""

import json
from dataclasses import fields

from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.core.datalist import KEYS, read_datalist
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.volume.volume_case import VolumeEntry


def test_the_truth_goes_with_a_cine(tmp_path):
    listed = {"image": "cine.nii.gz", "ed": 3, "ddf": "ddf.nii.gz", "body": "slide", "ed_label": "ed.nii.gz"}
    (tmp_path / "list.json").write_text(json.dumps({"test": [listed]}), encoding="utf-8")
    entry = CineEntry.from_dict(read_datalist(tmp_path / "list.json", "test", "/data")[0])
    assert entry.ed == 3
    truth = entry.read_as(CineTruth)
    assert (truth.case, truth.ddf, truth.body) == ("cine", "/data/ddf.nii.gz", "slide")
    assert truth.ed_label == "/data/ed.nii.gz" and truth.velocity is None
    assert truth.read_as(CineEntry) == entry
    assert CineEntry("a", "a.dcm").read_as(CineTruth) == CineTruth("a", "a.dcm")


def test_the_keys_of_a_list_are_those_of_all_kinds_of_entries():
    """So that a mistyped one is told from one that means nothing here."""
    typed = {field.name for kind in (CineEntry, VolumeEntry, CineTruth) for field in fields(kind)} - {"further"}
    assert sorted(KEYS) == sorted(typed)
