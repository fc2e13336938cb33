"""The parts of a bundle for one file: nothing is recorded, and several files are said."""

import pytest

from cardiac_motion.api.evaluators import make_evaluator, read_only_case
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.conftest import moving_cine


@pytest.fixture
def cines(tmp_path):
    for name in ("a", "b"):
        write_cine(tmp_path / f"{name}.nii.gz", moving_cine(3, (64, 72))[0][None])
    return [tmp_path / f"{name}.nii.gz" for name in ("a", "b")]


def test_an_evaluator_reads_one_case_and_writes_nothing(cines, tmp_path):
    evaluator = make_evaluator("farneback", cines[0], {"output_dir": str(tmp_path / "out")})
    case = read_only_case(evaluator)
    assert case.image.shape == (2, 2, 64, 72) and evaluator.fields_of(case).ddf.shape == (2, 2, 64, 72)
    assert not (tmp_path / "out").exists()


def test_several_cases_are_said(cines):
    with pytest.raises(InputError, match=r"2 cases \(a, b\); expected one"):
        read_only_case(make_evaluator("farneback", cines, {}))
