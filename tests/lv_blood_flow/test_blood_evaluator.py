"""The pool of a case, and fields over time, by hand."""

import math

import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.core.errors import InputError
from cardiac_motion.lv_blood_flow.blood_evaluator import BloodEvaluator, find_pool, smooth_in_time


def disc(radius=20.0, at=(31.5, 39.5)):
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    return torch.hypot(rows - at[0], columns - at[1]) < radius


def grey(frames=3, lit=None):
    """A cine that is grey where it is lit."""
    values = torch.full((frames, 64, 80), 0.5) * (1.0 if lit is None else lit)
    cine = MetaTensor(values[None], meta={"source": "a.nii.gz", "spacing": (0.5, 0.5)})
    return CineCase(CineEntry("a", "a.nii.gz"), torch.stack([values[:-1], values[1:]], 1), None, cine)


def as_memberships(pool):
    """Of background and cavity."""
    return torch.stack([~pool, pool], 1).float()


def test_the_pool_is_what_is_segmented_as_cavity_and_all_else_is_black():
    pool = torch.stack([disc(20), disc(18), disc(16)])
    found = find_pool(grey(), lambda frames: as_memberships(pool))
    assert found.blood_mask.equal(pool)
    assert found.image.equal(0.5 * torch.stack([pool[:-1], pool[1:]], 1))
    assert found.mask.equal(pool[1:, None]), "registered where the fixed frame has blood"


def test_what_contrast_leaves_open_is_filled_and_other_labels_are_no_blood():
    whole = disc(20).expand(3, -1, -1)
    open_pool = whole & ~disc(5)
    open_pool[:, :, 39] = False  # a line without contrast, from wall to wall
    memberships = torch.cat([as_memberships(open_pool), torch.zeros(3, 1, 64, 80)], 1)
    memberships[:, :, 60:, 70:] = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)  # an atrium
    found = find_pool(grey(), lambda frames: memberships).blood_mask
    assert not found[:, 60:, 70:].any()
    assert int((found ^ whole).sum()) <= 3 * 8, "but for the ends of the line, at the pool's edge"


def test_a_segmented_pool_ends_with_the_sector():
    lit = torch.zeros(64, 80)
    lit[4:60, 4:50] = 1
    pool = disc(20).expand(3, -1, -1)
    found = find_pool(grey(lit=lit), lambda frames: as_memberships(pool)).blood_mask
    assert found.equal(pool & lit.bool())


def test_a_pool_that_is_given_is_taken_as_it_is():
    case = find_pool(grey(), lambda frames: as_memberships(disc().expand(3, -1, -1)))
    assert find_pool(case, None) is case


def test_without_a_pool_and_without_blood_it_is_one_line():
    with pytest.raises(InputError, match=r"^a.nii.gz: the blood pool is not given; use --blood_mask"):
        find_pool(grey(), None)
    nothing = torch.zeros(3, 64, 80, dtype=torch.bool)
    with pytest.raises(InputError, match=r"^a.nii.gz, as segmented: no blood pool in frame 0 \(0 pixels\)$"):
        find_pool(grey(), lambda frames: as_memberships(nothing))


def test_a_gaussian_over_the_pairs_by_hand():
    ddf = torch.zeros(21, 2, 3, 4)
    ddf[10, 0] = 1
    found = smooth_in_time(ddf, 1.0)
    weights = [math.exp(-0.5 * k * k) for k in range(-4, 5)]
    torch.testing.assert_close(found[6:15, 0, 1, 2], torch.tensor([w / sum(weights) for w in weights]))
    assert not found[:, 1].any() and not found[:6].any()
    constant = torch.rand(1, 2, 3, 4).expand(5, -1, -1, -1)
    torch.testing.assert_close(smooth_in_time(constant, 2.0), constant, msg="the ends stand for those beyond")
    assert smooth_in_time(ddf, 0.0) is ddf and smooth_in_time(ddf[:1], 1.0).equal(ddf[:1])


def test_a_negative_width_over_time_is_refused(monkeypatch):
    monkeypatch.setattr("cardiac_motion.evaluation.case_evaluator.CaseEvaluator.__init__", lambda self, **shared: None)
    with pytest.raises(InputError, match="time_sigma -1: expected 0 or more"):
        BloodEvaluator(method="nmsr", time_sigma=-1)
