"""Failed checks in words, and which of them withhold the strain of a cine."""

import pytest

from cardiac_motion.strain_pipeline.quality.check_words import WORDS, blocking_checks, say_check
from cardiac_motion.strain_pipeline.quality.checks import LIMITS, check


@pytest.mark.parametrize("name", LIMITS)
def test_every_check_has_words(name):
    if name in WORDS:
        sentence = say_check(check(name, 1e3))
        assert sentence.endswith(".") and sentence != f"{check(name, 1e3).describe()}."
    assert say_check(check(name, None)).startswith(name), "without a value the check itself is described"


def test_words_are_of_checks_that_exist():
    assert set(WORDS) <= {*LIMITS, "view", "like what was trained on"}


def test_a_failed_check_of_the_case_blocks():
    bad, good = check("shape of the wall", 40.0), check("shape of the wall", 1.0)
    assert blocking_checks([bad]) == [bad] and blocking_checks([good, check("heart rate", 900.0, 0)]) == []


def test_beats_block_only_if_all_of_them_fail():
    bad, good = check("frames in systole", 1.0, 0), check("frames in systole", 9.0, 20)
    assert blocking_checks([bad, good]) == []
    assert blocking_checks([bad, check("frames in systole", 2.0, 20)]) == [bad, check("frames in systole", 2.0, 20)]
