"""The numbers of a case against NumPy, and which of two count."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cardiac_motion.evaluation.scores import Scores, reconstruction_scores
from cardiac_motion.registration.result import RegistrationResult, Stage


def test_the_second_scores_count_where_both_have_one():
    first = Scores({"mse": 1.0, "lncc2": 0.5}, {"mse": [1.0]}, [{"stage": "before"}], [1.0, 2.0])
    second = Scores({"lncc2": 0.7, "epe": 2.0}, {"epe": [2.0]})
    both = first | second
    assert both.metrics == {"mse": 1.0, "lncc2": 0.7, "epe": 2.0} and both.pairs == {"mse": [1.0], "epe": [2.0]}
    assert both.table == [{"stage": "before"}] and both.profile_mm == [1.0, 2.0]
    other = first | Scores(table=[{"stage": "after"}], profile_mm=[])
    assert other.table == [{"stage": "after"}] and other.profile_mm == [], "an empty profile is one"


@pytest.fixture
def case():
    """Two pairs; the fixed frame shows the moving one a row, or two rows, further; a mask away from the border."""
    wide = torch.rand(2, 1, 40, 32, generator=torch.Generator().manual_seed(0))
    fixed = torch.stack([wide[0, :, 5:37], wide[1, :, 6:38]])
    mask = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 6:-6, 6:-6] = True
    return SimpleNamespace(image=torch.cat([wide[..., 4:36, :], fixed], 1), mask=mask)


def shift(*rows):
    ddf = torch.zeros(len(rows), 2, 32, 32)
    ddf[:, 0] = torch.tensor(rows).view(-1, 1, 1)
    return ddf


def test_before_and_after(case):
    found = reconstruction_scores(case, RegistrationResult(shift(1.0, 2.0), seconds=3.0), radius=3)
    before = ((case.image[:, 0] - case.image[:, 1]).numpy()[:, 6:-6, 6:-6] ** 2).mean((1, 2))
    assert found.metrics["mse_unregistered"] == pytest.approx(before.mean(), rel=1e-5)
    assert found.metrics["mse"] == pytest.approx(0, abs=1e-10) and found.metrics["lncc2"] == pytest.approx(1, abs=1e-3)
    assert found.metrics["lncc2_unregistered"] < 0.3 and found.metrics["folding_fraction"] == 0
    assert (found.metrics["seconds"], found.metrics["seconds_per_pair"]) == (3.0, 1.5)
    assert [row["stage"] for row in found.table] == ["before", "after"]
    assert [row["seconds"] for row in found.table] == [0.0, 3.0]
    assert set(found.pairs) >= {"mse", "lncc2", "folding_fraction", "jacobian_det_sd"} and all(
        map(len, found.pairs.values())
    )


def test_a_column_a_stage_and_the_last_one_s_without_its_name(case):
    box = [(0, 32), (0, 32)]
    coarse = Stage(0.5, 10, 1.0, 0.1, torch.zeros(2, 2, 16, 16), box, (32, 32))
    fine = Stage(1.0, 20, 2.0, 0.2, shift(1.0, 2.0), box, (32, 32))
    found = reconstruction_scores(case, RegistrationResult(fine.coarse, (coarse, fine), seconds=3.5), radius=3)
    assert [row["stage"] for row in found.table] == ["before", "scale 1/2", "scale 1"]
    assert [row["seconds"] for row in found.table] == [0.0, 1.0, 2.0]
    assert found.metrics["mse@1/2"] == pytest.approx(found.metrics["mse_unregistered"]) and found.metrics["mse"] < 1e-9
    assert "mse@1" not in found.metrics and found.metrics["seconds"] == 3.5


def test_pairs_are_measured_each_for_itself(case):
    found = reconstruction_scores(case, RegistrationResult(shift(1.0, 0.0)), radius=3)
    assert found.pairs["mse"][0] < 1e-9 < 0.05 < found.pairs["mse"][1]
    assert found.metrics["mse"] == pytest.approx(np.mean(found.pairs["mse"]))
