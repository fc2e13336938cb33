"""Steps against sums of steps: the transpose, the exact least squares of a small chain, and a drifting estimate."""

import numpy as np
import pytest
import torch

from cardiac_motion.registration.gaps import GapsInferer, least_squares, spread_runs, sum_runs
from cardiac_motion.registration.pairwise import PairwiseInferer
from tests.registration.recording import Records


def test_sums_and_their_transpose():
    steps = torch.arange(5.0)[:, None]
    assert sum_runs(steps, 2)[:, 0].tolist() == [1.0, 3.0, 5.0, 7.0]
    a, b = torch.rand(7, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    torch.testing.assert_close((sum_runs(a, 3) * b).sum(), (a * spread_runs(b, 3)).sum())


@pytest.mark.parametrize("kind", [torch.int64, torch.float16, torch.float64])
def test_the_transpose_keeps_the_kind_of_number(kind):
    found = spread_runs(torch.tensor([[3], [6]], dtype=kind), 2)
    assert found.dtype == kind and found.flatten().tolist() == [3, 9, 6]


def test_it_is_the_least_squares_solution():
    """Against numpy's, with weights, of six steps and gaps of 1, 2 and 4."""
    rng = torch.Generator().manual_seed(0)
    misses = {g: torch.randn(7 - g, 1, generator=rng, dtype=torch.float64) for g in (1, 2, 4)}
    weights = {g: 0.2 + torch.rand(7 - g, 1, generator=rng, dtype=torch.float64) for g in misses}
    rows, right = [], []
    for g, miss in misses.items():
        for t in range(len(miss)):
            root = float(weights[g][t, 0]) ** 0.5
            rows.append([root if t <= k < t + g else 0.0 for k in range(6)])
            right.append(root * float(miss[t, 0]))
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    torch.testing.assert_close(least_squares(misses, weights)[:, 0], torch.from_numpy(expected), atol=1e-6, rtol=0)


class FallsShort(torch.nn.Module):
    """A frame's grey value is its row; every field misses by the same 0.1 pixels, whatever the gap."""

    def forward(self, image):
        moving, fixed = image.mean((2, 3)).T
        steps = moving - fixed + 0.1
        return torch.stack([steps, torch.zeros_like(steps)], 1)[:, :, None, None].expand(-1, -1, *image.shape[2:])


class KnowsItself(FallsShort):
    """The same, and that neighbours are known a hundred times worse than what lies further apart."""

    def forward_with_deviation(self, image):
        moving, fixed = image.mean((2, 3)).T
        near = (moving - fixed).abs() < 1.5
        deviation = torch.where(near, 2.0, 0.02)[:, None, None, None].expand(-1, 2, *image.shape[2:])
        return self(image), deviation


def cine(count=9):
    frames = torch.arange(float(count))[:, None, None].expand(-1, 6, 6)
    return torch.stack([frames[:-1], frames[1:]], 1)


def test_drift_is_taken_out():
    inputs = cine()
    plain = PairwiseInferer(progress=False)
    alone = plain(inputs, FallsShort()).ddf[:, 0, 3, 3].sum()
    together = GapsInferer(plain, (1, 2, 4, 8))(inputs, FallsShort()).ddf[:, 0, 3, 3].sum()
    assert abs(float(alone) + 8) == pytest.approx(0.8, abs=1e-4)
    assert abs(float(together) + 8) < 0.25


def test_better_measurements_count_more():
    inputs, plain = cine(), PairwiseInferer(progress=False)
    weighted = GapsInferer(plain, (1, 8))(inputs, KnowsItself()).ddf[:, 0, 3, 3].sum()
    assert plain(inputs, KnowsItself()).deviation.shape == (8, 2, 6, 6)
    assert abs(float(weighted) + 8 - 0.1) < 0.01, "the whole is what the longest gap says"


class Believes(torch.nn.Module):
    """Neighbours have not moved, of which it is certain; two steps have moved by 7 together, give or take 0.04."""

    def forward_with_deviation(self, image):
        far = ((image[:, 0] - image[:, 1]).abs().mean((1, 2)) > 1.5)[:, None, None, None]
        shape = (len(image), 2, *image.shape[2:])
        return torch.where(far, 7.0, 0.0).expand(shape), torch.where(far, 0.04, 0.0).expand(shape)


def test_no_measurement_is_believed_to_be_better_than_a_fiftieth_of_a_pixel():
    """Variances are 0.02² and 0.04² + 0.02², so weights are as 5 to 1: each step takes 7 · 1 / (5 + 2 · 1)."""
    for rounds in (1, 2):
        found = GapsInferer(PairwiseInferer(progress=False), (1, 2), rounds)(cine(3), Believes()).ddf
        torch.testing.assert_close(found, torch.ones(2, 2, 6, 6), atol=1e-4, rtol=0)


def test_a_gap_as_long_as_the_cine_is_used_and_a_longer_one_is_not():
    inner = Records()
    GapsInferer(inner, (4, 2, 2, 3))(cine(4), torch.nn.Identity())
    assert [(count, name) for count, _, name in inner.asked] == [(3, "1"), (2, "2"), (1, "3")]


def test_what_is_no_cine_is_left_alone():
    inputs = cine()[torch.tensor([3, 1, 6])]
    plain = PairwiseInferer(progress=False)
    torch.testing.assert_close(GapsInferer(plain)(inputs, FallsShort()).ddf, plain(inputs, FallsShort()).ddf)
    torch.testing.assert_close(GapsInferer(plain, [1])(cine(), FallsShort()).ddf, plain(cine(), FallsShort()).ddf)
    with pytest.raises(ValueError, match="gaps"):
        GapsInferer(plain, [0])
    with pytest.raises(ValueError, match="rounds 0"):
        GapsInferer(plain, [1], rounds=0)


def test_a_gap_has_the_mask_of_its_last_pair_and_a_name_of_its_own():
    masks = torch.rand(8, 1, 6, 6) > 0.5
    for mask in (masks, masks[:1], None):
        inner = Records()
        found = GapsInferer(inner, (1, 2, 4), rounds=1)(cine(), torch.nn.Identity(), mask, "x")
        assert [(count, name) for count, _, name in inner.asked] == [(8, "x1"), (7, "x2"), (5, "x4")]
        for gap, (_, own, _) in zip((1, 2, 4), inner.asked, strict=True):
            assert own is mask if mask is None or len(mask) == 1 else torch.equal(own, masks[gap - 1 :])
        assert found.ddf.abs().max() == 0
