"""The scale of values, colour, and what libraries say: what the readers of all formats share."""

import logging
import tracemalloc
import warnings

import numpy as np
import pytest

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, millimetres, silence, unit_range


@pytest.mark.parametrize(
    "values, maximum, expected, said",
    [
        (np.array([0, 51, 255], np.uint8), None, [0, 0.2, 1], ""),
        (np.array([0, 51, 255], np.int32), None, [0, 0.2, 1], "divided by 255"),
        (np.array([0, 1], np.int16), None, [0, 1], ""),
        (np.array([False, True]), None, [0, 1], ""),
        (np.array([0.0, 0.25, 1.0]), None, [0, 0.25, 1], ""),
        (np.array([-1.0, 0.0, 3.0]), None, [0, 0.25, 1], "from -1 to 3"),
        (np.array([0, 500, 1000], np.uint16), None, [0, 0.5, 1], "from 0 to 1000"),
        (np.array([-5, 0, 1023, 2000], np.int64), 1023, [0, 0, 1, 1], ""),
        (np.array([-1e308, 0.0, 1e308]), None, [0, 0.5, 1], "scaled"),
        (np.array([2.0, 2.0]), None, [0, 0], "scaled"),
    ],
)
def test_scales(values, maximum, expected, said):
    notes = []
    found = unit_range(values, notes, maximum)
    assert found.dtype == np.float32 and found == pytest.approx(expected, abs=1e-6)
    assert (said in notes[0]) if said else not notes


def test_what_is_no_number_is_left_for_others_to_see():
    assert np.isnan(unit_range(np.array([0.0, np.nan]), [])[1]) and unit_range(np.empty(0), []).size == 0


def picture(coloured_rows, lit=True):
    """40 × 40 pixels, grey but for some rows, which are red."""
    frame = np.full((40, 40, 3), 200 if lit else 20, np.uint8)
    frame[:coloured_rows] = (220, 30, 30)
    return frame


@pytest.mark.parametrize("rows, doppler, said", [(0, False, False), (12, True, True), (40, False, True)])
def test_colour(rows, doppler, said):
    """A part in colour is Doppler; all that is bright in colour is a tint."""
    channel, loop = FirstChannel(), Loop()
    assert np.array_equal(channel(picture(rows)), picture(rows)[..., 0])
    channel.report(loop)
    assert loop.colour_flow == doppler and bool(loop.notes) == said


def test_a_small_mark_is_no_colour():
    frame, channel, loop = picture(0), FirstChannel(), Loop()
    frame[:4, :4] = (255, 0, 0)
    channel(frame)
    channel.report(loop)
    assert not loop.notes and not loop.colour_flow


def test_a_dithered_grey_is_no_colour():
    """Pixels of red and cyan in turn are grey from afar."""
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[::2, :, 0] = frame[1::2, :, 1] = frame[1::2, :, 2] = 200
    channel, loop = FirstChannel(), Loop()
    channel(frame)
    channel.report(loop)
    assert not loop.notes


def test_words():
    assert millimetres((0.5, 0.33333)) == "0.5 × 0.3333 mm/px"
    assert format_error(ValueError("a\n  b")) == "a b" and format_error(KeyError()) == "KeyError"
    assert len(format_error(ValueError("x" * 300))) == 201


def test_a_library_is_quiet_for_a_while(recwarn, caplog):
    logger = logging.getLogger("some.library")
    before = logger.level
    with pytest.raises(ValueError), silence("some.library"):
        warnings.warn("noise", stacklevel=1)
        logger.critical("noise")
        raise ValueError
    assert not recwarn.list and not caplog.records and logger.level == before


@pytest.mark.parametrize("maximum", [None, 255.0])
def test_a_large_cine_is_scaled_without_a_second_copy(maximum):
    values = np.full((10, 512, 512), 51, np.uint8)
    tracemalloc.start()
    try:
        found = unit_range(values, [], maximum)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found == np.float32(51) / np.float32(255)).all() and (values == 51).all()
    assert peak < 1.1 * found.nbytes
