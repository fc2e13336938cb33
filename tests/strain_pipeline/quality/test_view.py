"""The view of a cine: who has the last word, and when nobody has."""

from dataclasses import FrozenInstanceError, asdict, replace
from types import SimpleNamespace

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.quality.view import decide_view, energy_check, lead_check, view_check
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities

SURE = ViewProbabilities({"apical_4ch": 0.7, "apical_2ch": 0.2, "other": 0.1}, 6.0)


def case(said=None):
    return SimpleNamespace(entry=SimpleNamespace(assumed_view=said, image="a.dcm"))


def test_the_most_probable_apical_view_from_the_threshold_on():
    found = decide_view(case(), SURE)
    assert (found.view.name, found.given) == ("apical_4ch", False)
    assert decide_view(case(), SURE, threshold=0.75).view.name == "apical_4ch", "a rounding does not refuse it"
    with pytest.raises(
        InputError, match=r"a.dcm: the view is not certain \(apical 4ch 0.700, apical 2ch 0.200; at least 0.71 and 0.15"
    ):
        decide_view(case(), SURE, threshold=0.76)


@pytest.mark.parametrize(
    ("four", "long", "taken"),
    [(0.4996, 0.2, True), (0.46, 0.2, True), (0.44, 0.2, False), (0.50, 0.46, False), (0.5, 0.36, False)],
)
def test_a_view_leads_the_next_one(four, long, taken):
    """A probability that rounds to the threshold is enough, one of two that are nearly alike is not."""
    shares = {"apical_4ch": four, "apical_long_axis": long, "other": 1 - four - long}
    shares = shares if shares["other"] < long else {**shares, "other": 0.15, "subcostal_4ch": 0.85 - four - long}
    probabilities = ViewProbabilities(shares, 6.0)
    if taken:
        view = decide_view(case(), probabilities)
        assert view_check(view, 0.5).passed and lead_check(view).passed
        return
    with pytest.raises(InputError, match="the view is not certain"):
        decide_view(case(), probabilities)
    forced = decide_view(case(), probabilities, ignore_checks=True)
    assert not (view_check(forced, 0.5).passed and lead_check(forced).passed)


def test_what_is_no_apical_view_is_refused_however_sure():
    probabilities = ViewProbabilities({"parasternal_short_axis": 0.6, "apical_4ch": 0.4}, 6.0)
    with pytest.raises(InputError, match=r"a.dcm: looks like parasternal short axis \(0.60\), not an apical view"):
        decide_view(case(), probabilities, threshold=0.0)
    assert decide_view(case(), probabilities, ignore_checks=True).view.name == "apical_4ch"


def test_the_users_word_is_over_the_classifiers_and_over_force():
    for said, name in (("A2C", "apical_2ch"), ("apical_long_axis", "apical_long_axis")):
        for force in (False, True):
            found = decide_view(case(said), SURE, 0.99, force)
            assert (found.view.name, found.given, found.probabilities) == (name, True, SURE)
    with pytest.raises(InputError):
        decide_view(case("subcostal"), SURE)


def test_forced_it_is_the_best_of_the_apical_ones():
    assert (
        decide_view(
            case(), ViewProbabilities({"apical_long_axis": 0.1, "apical_2ch": 0.02}, 6.0), ignore_checks=True
        ).view.short
        == "ALAX"
    )


def test_the_checks_of_a_view():
    check = view_check(decide_view(case(), SURE), 0.5)
    assert (check.name, check.value, check.minimum) == ("view", 0.7, 0.45) and check.passed
    assert view_check(decide_view(case("ALAX"), SURE), 0.5).value == 0.0
    assert view_check(decide_view(case("ALAX"), SURE), 0.5).minimum is None, "what the user says has no limit"


@pytest.mark.parametrize(("energy", "passed"), [(2.9, False), (3.0, True), (float("nan"), False)])
def test_frames_unlike_the_training_fail_and_so_does_an_unknown_energy(energy, passed):
    assert energy_check(replace(SURE, energy=energy)).passed is passed


def test_the_output_of_the_classifier_cannot_be_changed_and_keeps_its_energy_in_a_copy():
    assert ViewProbabilities(**asdict(SURE)) == SURE
    with pytest.raises(FrozenInstanceError):
        SURE.energy = 9.0
