"""What a request may say and what it may not, each refusal with its status and one line."""

import pytest

from cardiac_motion.serving import validation as C


def refused(status, match, call, *given):
    with pytest.raises(C.RequestRejected, match=match) as caught:
        call(*given)
    assert caught.value.status == status and "\n" not in caught.value.reason


@pytest.mark.parametrize("name", ["a", "A4C_2024-05.nii", "x" * 120, "1+1"])
def test_names_that_may_be_stored(name):
    assert C.check_new_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a..b", "a/b", "a\\b", "a b", "a\n", "x" * 121, "-rf", "é", "a\0"]
)
def test_names_that_may_not(name):
    refused(400, "^image .*: a name must start", C.check_new_name, name)


def test_tags_are_shorter_and_have_no_dots():
    assert C.tag_name("final_2-b") == "final_2-b" and C.tag_name("t" * 32) == "t" * 32
    for tag in ("", "t" * 33, "a.b", "../x", "_a", "a\n"):
        refused(400, "a tag must have up to 32 letters", C.tag_name, tag)


def test_of_an_uploaded_name_the_suffix_alone_is_taken():
    assert C.suffix_of("../../etc/CINE.NII.GZ", C.IMAGE_SUFFIXES, "image") == ".nii.gz"
    assert C.suffix_of("a.nii", C.IMAGE_SUFFIXES, "image") == ".nii"
    assert C.suffix_of("wall.json", C.CONTOUR_SUFFIXES, "contour") == ".json"
    refused(415, r"label 'wall.json': must have one of the suffixes .nii.gz, .nii$", C.suffix_of, "/x/wall.json",
            C.LABEL_SUFFIXES, "label")  # fmt: skip
    for name in (None, "", "nii", "a.nii.gz.exe"):
        refused(415, "must have one of the suffixes", C.suffix_of, name, C.IMAGE_SUFFIXES, "image")


def test_params_are_one_object_of_bounded_length():
    assert C.json_object('{"a": [1]}') == {"a": [1]}
    assert C.json_object("") == C.json_object("null") == C.json_object("{}") == {}
    refused(400, "params: not valid JSON", C.json_object, "{")
    refused(400, "params: not valid JSON", C.json_object, "[" * 30_000)
    for text in ("[]", "1", '"a"', "true"):
        refused(400, "body: must be a JSON object", C.json_object, text, "body")
    longest = '{"a": "' + "x" * (C.LONGEST_PARAMS - 9) + '"}'
    assert len(longest) == 65_536 and C.json_object(longest)
    refused(413, "longer than 65536 characters", C.json_object, longest + " ")


def test_a_long_value_is_shown_by_its_beginning():
    assert C.shorten("abc") == "'abc'" and C.shorten(3) == "3"
    assert C.shorten("x" * 58) == "'" + "x" * 58 + "'"
    long = C.shorten("x" * 59)
    assert long == "'" + "x" * 56 + "...'" and len(long) == 61


def test_a_reason_is_one_line():
    error = C.RequestRejected(418, "a\n  b\tc ")
    assert (error.status, error.reason) == (418, "a b c")


@pytest.mark.parametrize("value, found", [(1, 1), ("2.5", 2.5), (0.5, 0.5), (3, 3)])
def test_numbers_within_bounds(value, found):
    assert C.number(0.5, 3)(value) == found


@pytest.mark.parametrize("value", [0.49, 3.01, "nan", "inf", float("nan"), True, None, "x", [], "1,5"])
def test_numbers_that_are_none(value):
    with pytest.raises(ValueError, match=r"^a number from 0.5 to 3$"):
        C.number(0.5, 3)(value)


def test_whole_numbers():
    check = C.number(1, 64, whole=True)
    assert check("64") == 64 and isinstance(check("1"), int)
    for value in (1.5, "1.0", 0, 65, False):
        with pytest.raises(ValueError, match=r"^an integer from 1 to 64$"):
            check(value)


def test_words_and_switches():
    assert C.choice("ed", "es")("es") == "es"
    for value in ("ES", "", None, 1, ["ed"]):
        with pytest.raises(ValueError, match=r"^one of ed, es$"):
            C.choice("ed", "es")(value)
    assert [C.switch(v) for v in (True, False, "true", "False")] == [True, False, True, False]
    for value in (0, 1, "yes", None, ""):
        with pytest.raises(ValueError, match=r"^true or false$"):
            C.switch(value)


def test_spacing_is_row_and_column():
    assert C.spacing(0.3) == [0.3, 0.3] and C.spacing(["0.3", 0.2]) == [0.3, 0.2]
    for value in ([0.3], [0.3] * 3, 0, [0.3, 0.0009], [0.3, 100.1], "x", None, True, [0.3, None], {}):
        with pytest.raises(ValueError, match="mm/px"):
            C.spacing(value)
