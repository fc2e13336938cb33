"""A scale's problem: which masks go with which pairs; and a network's fields batch by batch."""

import torch

from cardiac_motion.registration.optimisation import ScaleProblem, predict_fields
from tests.registration.test_testtime_steps import Pull


def problem(mask, **settings):
    pairs = torch.rand(5, 2, 8, 10, generator=torch.Generator().manual_seed(0))
    given = {"loss": Pull(), "steps": 1, "regularisation_weight": 1.0, "batch_size": 2, "device": torch.device("cpu")}
    return ScaleProblem(0.375, pairs, mask, **{**given, **settings})


def test_each_pair_has_its_own_mask_or_all_have_one():
    masks = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 8, 10)
    index = torch.tensor([3, 1])
    assert problem(masks).masks(index)[:, 0, 0, 0].tolist() == [3, 1]
    assert problem(masks[2:3]).masks(index)[:, 0, 0, 0].tolist() == [2]
    assert problem(None).masks(index) is None


def test_the_bar_is_called_after_the_scale(capsys):
    with problem(None).bar(7) as bar:
        assert bar.desc == "scale 3/8" and bar.total == 7 and not bar.disable
    assert problem(None, progress=False).bar(7).disable


def test_fields_do_not_depend_on_the_batches():
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, padding=1), torch.nn.Dropout(0.5)).train()
    pairs = problem(None).pairs
    fields = [predict_fields(network, pairs, n, progress=False) for n in (1, 2, 5)]
    assert fields[0].shape == (5, 2, 8, 10) and not fields[0].requires_grad and not network.training
    assert all(torch.allclose(fields[0], other, atol=1e-6) for other in fields[1:])
