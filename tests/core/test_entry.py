"""A case is a typed value, and a mapping of the keys that handlers of MONAI take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from cardiac_motion.core.entry import Case, Entry
from cardiac_motion.core.errors import InputError


@dataclass(frozen=True)
class Timed(Entry):
    """A kind of entry."""

    ed: int | None = None
    spacing: Sequence[float] | float | None = None


LISTED = {"case": "a", "image": "a.nii", "ed": 3, "spacing": [0.5, 1], "comment": "nothing"}


def test_an_entry_of_a_list_is_read_as_each_kind():
    entry = Timed.from_dict(LISTED)
    assert entry == Timed("a", "a.nii", ed=3, spacing=[0.5, 1], further={"comment": "nothing"})
    plain = entry.read_as(Entry)
    assert plain.further == {"ed": 3, "spacing": [0.5, 1], "comment": "nothing"}
    assert plain.read_as(Timed) == entry and entry.to_dict() == LISTED
    assert Timed.from_dict({"case": "a", "image": "a.nii"}).to_dict() == {"case": "a", "image": "a.nii"}


@pytest.mark.parametrize(
    "key, value, wanted",
    [
        ("ed", "3", "a whole number"),
        ("ed", 3.5, "a whole number"),
        ("ed", True, "a whole number"),
        ("ed", [3], "a whole number"),
        ("spacing", "0.5", "a number or a list, each a number"),
        ("spacing", [0.5, None], "a number or a list, each a number"),
        ("case", 7, "text"),
    ],
)
def test_a_value_of_another_type_is_named(key, value, wanted):
    with pytest.raises(InputError) as raised:
        Timed.from_dict({**LISTED, key: value})
    assert str(raised.value) == f"a.nii: {key} is {value!r}, expected {wanted}"


def test_numbers_of_numpy_are_numbers():
    entry = Timed.from_dict({**LISTED, "ed": np.int64(3), "spacing": np.float32(0.5)})
    assert entry.ed == 3 and entry.spacing == 0.5


def test_a_case_is_a_mapping_without_what_is_none():
    case = Case(Entry("a", "a.nii"), torch.zeros(1, 2, 4, 4), None)
    assert case.name == case["case"] == "a" and case["image"] is case.image
    assert set(case) == {"case", "image", "entry"} and len(case) == 3 and "mask" not in case
    with pytest.raises(KeyError, match="mask"):
        case["mask"]
    with pytest.raises(AttributeError):
        case.image = None
