"""Names of views, walls and segments, as Voigt et al. 2015 (Fig. 5) have them."""

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.views import APICAL, LEVELS, RING, apical_view


@pytest.mark.parametrize(
    ("name", "walls"),
    [
        ("apical_4ch", ("inferoseptal", "anterolateral")),
        ("A4C", ("inferoseptal", "anterolateral")),
        ("a2c", ("inferior", "anterior")),
        ("APICAL_2CH", ("inferior", "anterior")),
        ("alax", ("inferolateral", "anteroseptal")),
    ],
)
def test_walls_of_a_view_by_any_of_its_names(name, walls):
    assert apical_view(name).walls == walls


def test_segments_go_from_base_over_the_apex_to_base():
    assert APICAL["apical_2ch"].segments() == [
        "basal inferior", "mid inferior", "apical inferior", "apical anterior", "mid anterior", "basal anterior"
    ]  # fmt: skip
    assert APICAL["apical_2ch"].segments(mirrored=True) == APICAL["apical_2ch"].segments()[::-1]


def test_three_views_show_the_eighteen_segments_once():
    names = [segment for view in APICAL.values() for segment in view.segments()]
    assert len(names) == 18 and set(names) == {f"{level} {wall}" for level in LEVELS for wall in RING}


def test_another_view_is_refused_by_name():
    with pytest.raises(InputError) as caught:
        apical_view("PLAX")
    assert str(caught.value) == (
        "view 'PLAX': strain can be measured in apical_4ch (A4C), apical_2ch (A2C), apical_long_axis (ALAX)"
    )
