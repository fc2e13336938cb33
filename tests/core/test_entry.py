"""A case is a typed value, and a mapping of the keys that handlers of MONAI take."""

import pytest
import torch

from cardiac_motion.core.entry import Case, Entry


def test_an_entry_of_a_list_keeps_what_means_something():
    entry = Entry.from_dict({"case": "a", "image": "a.nii", "ed": 3, "comment": "nothing"})
    assert entry == Entry("a", "a.nii", ed=3) and entry.es is None


def test_a_case_is_a_mapping_without_what_is_none():
    case = Case(Entry("a", "a.nii"), torch.zeros(1, 2, 4, 4), None)
    assert case.name == case["case"] == "a" and case["image"] is case.image
    assert set(case) == {"case", "image", "entry"} and len(case) == 3 and "mask" not in case
    with pytest.raises(KeyError, match="mask"):
        case["mask"]
    with pytest.raises(AttributeError):
        case.image = None
