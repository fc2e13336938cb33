"""What files do to pictures: each against what it must do, and that none of them moves anything."""

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.ultrasound import recording
from cardiac_motion.simulation.ultrasound.recording import RecordingChain


@pytest.fixture(scope="module")
def frames():
    noise = torch.rand(4, 60, 71, generator=torch.Generator().manual_seed(0))
    return recording.smooth_speckle(noise, 2.0).clamp(0, 1) * 1.6 - 0.3


def shifted(a, b):
    """The whole-pixel shift at which two pictures are most alike, by the peak of their cross-correlation."""
    spectrum = torch.fft.fft2(a - a.mean()) * torch.fft.fft2(b - b.mean()).conj()
    return divmod(int(torch.fft.ifft2(spectrum).real.argmax()), a.shape[1])


def test_persistence_is_a_recursive_mean():
    frames = torch.zeros(4, 2, 2)
    frames[1] = 1.0
    torch.testing.assert_close(recording.persistence(frames, 0.25)[:, 0, 0], torch.tensor([0, 0.75, 0.1875, 0.046875]))
    still = torch.full((3, 2, 2), 0.4)
    torch.testing.assert_close(recording.persistence(still, 0.5), still)
    with pytest.raises(InputError, match="persistence"):
        recording.persistence(frames, 1.0)


CHANGES = {
    "gaussian": lambda x: recording.smooth_speckle(x, 1.0),
    "edges": lambda x: recording.smooth_speckle(x, 1.0, 0.2),
    "curve": lambda x: recording.grey_curve(x, (0.4, 0.6, 0.7)),
    "jpeg": lambda x: recording.jpeg(x, 60),
    "h264": lambda x: recording.h264(x, 24),
    "smaller": lambda x: recording.resample_frames(x, 0.57),
    "larger": lambda x: recording.resample_frames(x, 1.43),
}


@pytest.mark.parametrize("name", CHANGES)
def test_they_change_greys_and_move_nothing(frames, name):
    clean = frames.clamp(0, 1)
    changed = CHANGES[name](clean)
    assert changed.shape == clean.shape and changed.dtype == torch.float32
    assert 0.002 < float((changed - clean).abs().mean()) < 0.2
    for before, after in zip(clean, changed, strict=True):
        assert shifted(after, before) == (0, 0)


def test_a_grey_curve_keeps_the_order_and_the_ends():
    ramp = torch.linspace(0, 1, 256).reshape(1, 16, 16)
    curved = recording.grey_curve(ramp, (0.1, 0.5, 0.95)).flatten()
    assert (curved.diff() >= 0).all() and curved[0] == 0 and curved[-1] == 1
    assert float(recording.grey_curve(torch.full((1, 1, 1), 0.5), (0.1, 0.4, 0.9))) == pytest.approx(0.4)


def test_worse_quality_is_further_off(frames):
    clean = frames.clamp(0, 1)
    for change in (lambda q: recording.jpeg(clean, q), lambda q: recording.h264(clean, 40 - q // 4)):
        good, bad = ((change(q) - clean).abs().mean() for q in (90, 20))
        assert bad > 1.5 * good


def test_what_is_covered_is_said(frames):
    clean = frames.clamp(0, 1)
    for seed in range(6):
        drawn, free = recording.overlay_marks(clean, np.random.default_rng(seed))
        assert not free.all() and free.float().mean() > 0.4
        torch.testing.assert_close(drawn[:, free], clean[:, free], atol=1e-3, rtol=0)
        cut, left = recording.cut(clean, np.random.default_rng(seed))
        assert 0.4 < left.float().mean() < 1 and not cut[:, ~left].any() and torch.equal(cut[:, left], clean[:, left])


def test_a_chain_is_seeded_and_stays_in_range(frames):
    chain = RecordingChain(1, 1, 1, 1, 1, 1, 1, 0)
    (first, free), (again, _) = (chain(frames, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, again) and 0 <= first.min() and first.max() <= 1 and not free.all()
    nothing, everywhere = RecordingChain(0, 0, 0, 0, 0, 0, 0, 0)(frames, np.random.default_rng(3))
    torch.testing.assert_close(nothing, frames.clamp(0, 1))
    assert everywhere.all()
