"""Where results go: distinct folders for inputs of one name, and nothing of a user's replaced."""

import json

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import case_names, check_targets, is_finished
from cardiac_motion.core.whole_files import PROGRAM


def entries(*paths, **more):
    return [{"image": str(path), "case": path.name.split(".")[0], **more} for path in paths]


def result(folder, source):
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(
        json.dumps({"program": PROGRAM, "method": "m", "input": str(source)}), encoding="utf-8"
    )


@pytest.fixture
def inputs(tmp_path):
    paths = [tmp_path / name for name in ("a/a4c.dcm", "b/a4c.dcm", "b/a4c.nii", "x/1/a2c.dcm", "y/1/a2c.dcm")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_inputs_of_one_name_have_folders_of_their_own(inputs, tmp_path):
    out = tmp_path / "out"
    assert case_names(entries(*inputs[:1], *inputs[3:4]), out) == ["a4c", "a2c"]
    assert case_names(entries(*inputs[:2], *inputs[3:]), out) == ["a_a4c", "b_a4c", "x_1_a2c", "y_1_a2c"]
    assert len(set(case_names(entries(*inputs), out))) == 5, "two files beside each other too"
    with pytest.raises(InputError, match="given twice"):
        case_names(entries(inputs[0], inputs[0]), out)
    assert case_names([*entries(inputs[0]), {"image": str(inputs[0]), "case": "again"}], out) == ["a4c", "again"]
    assert not out.exists()


def test_over_two_runs_too(inputs, tmp_path):
    out = tmp_path / "out"
    result(out / "a4c", inputs[0])
    assert case_names(entries(inputs[1]), out) == ["b_a4c"]
    result(out / "b_a4c", inputs[1])
    assert case_names(entries(*inputs[:2]), out) == ["a4c", "b_a4c"], "each is done again where it was"
    assert case_names(entries(inputs[2]), out)[0] not in ("a4c", "b_a4c")
    assert is_finished(out, entries(inputs[1])[0]) and not is_finished(out, entries(inputs[2])[0])


def test_a_simulated_case_is_not_replaced_by_results(inputs, tmp_path):
    (tmp_path / "out/a4c").mkdir(parents=True)
    (tmp_path / "out/a4c/summary.json").write_text(
        json.dumps({"program": PROGRAM, "template": "patient1"}), encoding="utf-8"
    )
    assert case_names(entries(inputs[0]), tmp_path / "out") == ["a_a4c"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_case_without_a_name(tmp_path, name):
    with pytest.raises(InputError, match="no name for the folder"):
        case_names([{"image": str(tmp_path), "case": name}], tmp_path / "out")


def test_what_is_a_users_is_left_alone(inputs, tmp_path):
    study = tmp_path / "study/patient1"
    study.mkdir(parents=True)
    for name, out, words in (
        ("patient1", tmp_path / "study", "replace the input"),  # is
        ("study", tmp_path, "replace the input"),  # holds
        ("case", study, "lie in the input"),
        ("case", study / "deep/er", "lie in the input"),
    ):
        with pytest.raises(InputError, match=words):
            case_names([{"image": str(study), "case": name}], out)
    (tmp_path / "out/a4c").mkdir(parents=True)
    assert case_names(entries(inputs[0]), tmp_path / "out") == ["a4c"], "an empty folder is nobody's loss"
    (tmp_path / "out/a4c/notes.txt").write_text("must survive", encoding="utf-8")
    with pytest.raises(InputError, match=r"out/a4c: exists"):
        case_names(entries(inputs[0]), tmp_path / "out")
    (tmp_path / "out/a4c/summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"out/a4c: exists"):
        case_names(entries(inputs[0]), tmp_path / "out")


def test_an_input_in_the_results_of_another(inputs, tmp_path):
    result(tmp_path / "out/a4c", inputs[0])
    (tmp_path / "out/a4c/mask.nii.gz").touch()
    with pytest.raises(InputError, match="replace the input"):
        case_names(entries(inputs[0], ed_mask=str(tmp_path / "out/a4c/mask.nii.gz")), tmp_path / "out")


def test_through_links(inputs, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="replace the input"):
        check_targets([tmp_path / "a"], [tmp_path / "link/a4c.dcm"])
    with pytest.raises(InputError, match="replace the input"):
        check_targets([tmp_path / "link"], [inputs[0]])
    with pytest.raises(InputError, match="exists and was not written"):
        check_targets([tmp_path / "link"], [])


@pytest.mark.parametrize("name, text", [("metrics.csv", "weight,height\n1,2\n"), ("summary.json", '{"mine": 1}')])
def test_tables_of_others(inputs, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="exists and was not written"):
        case_names(entries(inputs[0]), tmp_path)


def test_results_of_another_method_are_not_replaced(inputs, tmp_path):
    result(tmp_path / "out/a4c", inputs[0])
    assert case_names(entries(inputs[0]), tmp_path / "out", "m") == ["a4c"]
    with pytest.raises(InputError, match=r"a4c: has results of m, which those of other would replace"):
        case_names(entries(inputs[0]), tmp_path / "out", "other")


def test_another_method_does_not_write_beside_results_even_of_another_input(inputs, tmp_path):
    result(tmp_path / "out/b4c", inputs[0])
    with pytest.raises(InputError, match=r"b4c: has results of m, .* leave out of the tables .* another output_dir"):
        case_names([{"case": "a4c", "image": str(inputs[0])}], tmp_path / "out", "other")
