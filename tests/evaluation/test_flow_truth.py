import dataclasses

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.flow_truth import flow_scores, velocity_scores, vortex_scores
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.haemodynamics.velocity import velocity_of
from cardiac_motion.haemodynamics.vortices import Vortex
from cardiac_motion.registration.result import RegistrationResult, Stage
from tests.lv_blood_flow.test_measures import SIZE, turning


def with_truth(tmp_path, change=1.0):
    case, ddf = turning()
    found = velocity_of(ddf, case.blood_mask, (0.5, 0.5), case.meta.frame_times)
    save_cine_ddf(tmp_path / "velocity.nii.gz", change * found.values)
    entry = dataclasses.replace(case.entry, further={"velocity": str(tmp_path / "velocity.nii.gz")})
    return dataclasses.replace(case, entry=entry), ddf, found


def test_the_truth_itself_has_no_error(tmp_path):
    case, ddf, _ = with_truth(tmp_path)
    scores = flow_scores(case, RegistrationResult(ddf)).metrics
    assert scores["velocity_error"] < 1e-6 and scores["direction_error"] < 0.01
    assert (scores["vortex_f1"], scores["circulation_error"], scores["centre_mm"]) == pytest.approx((1, 0, 0), abs=1e-5)


def test_each_scale_has_its_scores_and_a_field_that_is_too_slow_is_told(tmp_path):
    case, ddf, _ = with_truth(tmp_path)
    box = ((0, SIZE), (0, SIZE))
    stages = tuple(Stage(s, 1, 0.0, 0.0, f, box, (SIZE, SIZE)) for s, f in ((0.5, torch.zeros(3, 2, 36, 36)), (1, ddf)))
    scores = flow_scores(case, RegistrationResult(0.8 * ddf, stages)).metrics
    assert scores["vortex_f1@1/2"] == 0 and scores["velocity_nrmse@1/2"] == pytest.approx(1)
    assert scores["velocity_nrmse"] == pytest.approx(0.2, abs=0.01)
    assert scores["whole_circulation_error"] == pytest.approx(0.2, abs=0.01)
    assert scores["circulation_error"] == pytest.approx(0.2, abs=0.01) and scores["vortex_f1"] == 1


def test_direction_and_peak():
    case, ddf = turning()
    found = velocity_of(ddf, case.blood_mask, (0.5, 0.5), case.meta.frame_times)
    turned = torch.stack([-found.values[:, 1], found.values[:, 0]], 1)  # by a right angle
    scores = velocity_scores(found, turned)
    assert scores["direction_error"] == pytest.approx(90, abs=0.1)
    still = dataclasses.replace(found, values=0 * found.values)
    assert velocity_scores(still, found.values)["direction_error"] == pytest.approx(90)
    speed = found.values.norm(dim=1)[found.mask]
    off = (found.values - turned).norm(dim=1)[found.mask].square().mean().sqrt()
    assert scores["velocity_error"] == pytest.approx(float(off / speed.max()), rel=1e-4)


def vortex(row, turn=1, circulation=50.0):
    return Vortex((row, 0.0), turn, 30.0, turn * circulation, 5.0, 0.9)


def test_vortices_found_missed_and_made_up():
    truth = [[vortex(0), vortex(40, -1)], [vortex(0)]]
    found = [[vortex(4), vortex(0, -1)], [vortex(1, circulation=40.0), vortex(30, circulation=3.0)]]
    scores = vortex_scores(found, truth, (0.5, 0.5))
    # 3 true ones, 3 found (one is too weak to count), 2 pairs
    assert scores["vortex_f1"] == pytest.approx(4 / 6)
    assert scores["centre_mm"] == pytest.approx((2 + 0.5) / 2)
    assert scores["circulation_error"] == pytest.approx((0 + 0.2) / 2)
    nothing = vortex_scores([[], []], truth, (0.5, 0.5))
    assert nothing["vortex_f1"] == 0 and nothing["centre_mm"] != nothing["centre_mm"]


def test_what_can_not_be_compared(tmp_path):
    case, ddf, _ = with_truth(tmp_path)
    assert not flow_scores(turning()[0], RegistrationResult(ddf)).metrics
    with pytest.raises(InputError, match="differs from the cine's"):
        flow_scores(case, RegistrationResult(ddf[:, :, :40]))
    with pytest.raises(InputError, match="needs a blood pool, spacing and frame times"):
        flow_scores(dataclasses.replace(case, blood_mask=None), RegistrationResult(ddf))
