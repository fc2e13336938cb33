"""Every 2D method on motion that is known: a rotating disc of speckle, and a translation; sign, unit and accuracy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cardiac_motion.comparators.dis import DenseInverseSearch
from cardiac_motion.comparators.farneback import Farneback
from cardiac_motion.comparators.fft_xcorr import FFTXCorr
from cardiac_motion.comparators.greedy import GreedyRegistration
from cardiac_motion.comparators.ilk import IterativeLucasKanade
from cardiac_motion.comparators.piv import ParticleImageVelocimetry
from cardiac_motion.comparators.tvl1 import TotalVariationFlow
from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.networks.ncc_flow import NCCFlow
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.networks.weights import load_weights
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.pairwise import PairwiseInferer, make_consistent
from tests.bundles.running import ROOT
from tests.conftest import moving_cine, rotation
from tests.registration.staged import multi_scale

SIZE = (96, 112)
ANGLE = 0.03


def fast_preset(**changes):
    options = {
        "steps": [20, 20, 20, 40], "field_scales": (0.125, 0.25, 0.5, 1.0), "squarings": 5,
        "loss": RegistrationLoss(radius=4, mse_weight=100.0), "regularisation_weight": [12.0, 4.0, 1.0, 0.1],
        "scales": (0.125, 0.25, 0.5, 1.0),
    }  # fmt: skip
    return multi_scale(**(options | changes))


WEIGHTS = ROOT / "bundles/cpwc_echo/models/model.pt"


def greedy(**options):
    pytest.importorskip("picsl_greedy")
    return GreedyRegistration(**options)


def openpiv(**options):
    pytest.importorskip("openpiv")
    return ParticleImageVelocimetry(**options)


METHODS = {
    "nmsr_echo, fast": lambda: (fast_preset(), RegistrationUNet(2, squarings=5)),
    "farneback": lambda: (PairwiseInferer(progress=False), Farneback()),
    "farneback, composed": lambda: (PairwiseInferer(progress=False, composition=True), Farneback()),
    "fft_xcorr": lambda: (PairwiseInferer(progress=False), FFTXCorr()),
    "fft_xcorr, openpiv": lambda: (PairwiseInferer(progress=False), openpiv()),
    "dis": lambda: (PairwiseInferer(progress=False), DenseInverseSearch()),
    "dis, fast": lambda: (PairwiseInferer(progress=False), DenseInverseSearch("fast")),
    "dis, ultrafast": lambda: (PairwiseInferer(progress=False), DenseInverseSearch("ultrafast")),
    "dis, full resolution": lambda: (PairwiseInferer(progress=False), DenseInverseSearch("medium", finest=0)),
    "ilk": lambda: (PairwiseInferer(progress=False), IterativeLucasKanade()),
    "tvl1": lambda: (PairwiseInferer(progress=False), TotalVariationFlow()),
    "greedy": lambda: (PairwiseInferer(progress=False), greedy()),
    "cpwc_echo": lambda: (PairwiseInferer(progress=False, composition=True), load_weights(NCCFlow(), WEIGHTS)),
}


LIMITS = {
    "fft_xcorr": 0.3,  # px; its tapered windows lock onto whole pixels (see FFTXCorr): 0.1 px there alone
    "fft_xcorr, openpiv": 0.15,  # 0.10 px, of windows of 16 pixels
    "dis, fast": 0.15,  # it stops at a quarter of the resolution
    "dis, ultrafast": 0.2,
}
LEARNED = {
    "cpwc_echo": 0.25
}  # px of a shift; it was taught walls that move by a pixel or two, not textures without any


def register(name, image):
    inferer, network = METHODS[name]()
    return inferer(image, network).ddf


@pytest.mark.parametrize("name", METHODS)
def test_rotating_disc(name):
    """Material turns by +angle from frame t to t+1, so the field pulls back by −angle; mean error in the disc."""
    frames, angle = moving_cine(2, SIZE)
    ddf = register(name, frames[None])
    points = identity_grid(SIZE, ddf)[0].permute(1, 2, 0)
    truth = (rotation(points, -angle, SIZE) - points).permute(2, 0, 1)
    radius = (points - torch.tensor([(n - 1) / 2 for n in SIZE])).norm(dim=-1)
    error = (ddf[0] - truth).norm(dim=0)[radius < 36]
    assert truth.norm(dim=0)[radius < 36].mean() > 0.5
    assert error.mean() < LIMITS.get(name, 0.1), f"{name}: {error.mean():.3f} px"


def translation(shift, size=SIZE):
    rng = np.random.default_rng(1)
    whole = ndimage.gaussian_filter(rng.random((size[0] + 40, size[1] + 40)), 1.6)
    whole = (whole - whole.min()) / (whole.max() - whole.min())
    rows, columns = np.mgrid[: size[0], : size[1]] + 20.0
    fixed = ndimage.map_coordinates(whole, [rows + shift[0], columns + shift[1]], order=3)
    moving = ndimage.map_coordinates(whole, [rows, columns], order=3)
    return torch.tensor(np.stack([moving, fixed]), dtype=torch.float32)[None].clamp(0, 1)


@pytest.mark.parametrize("shift", [(1.4, -2.3), (-0.6, 0.25), (2.0, -1.0)])
@pytest.mark.parametrize("name", METHODS)
def test_translation(name, shift):
    ddf = register(name, translation(shift))
    inner = ddf[0, :, 20:-20, 20:-20]
    error = (inner - torch.tensor(shift)[:, None, None]).norm(dim=0)
    whole = all(s == round(s) for s in shift)
    limit = LEARNED.get(name, 0.1 if whole and "dis" not in name else LIMITS.get(name, 0.1))
    assert error.mean() < limit, f"{name}: {error.mean():.3f} px"


def test_composition_of_fields_that_undo_each_other_changes_nothing():
    ddf = torch.zeros(1, 2, 32, 32) + torch.tensor([1.5, -0.5]).view(1, 2, 1, 1)
    assert torch.allclose(make_consistent(ddf, -ddf), ddf)
    wrong = -ddf + 0.4
    assert torch.allclose(make_consistent(ddf, wrong), ddf - 0.2), "half of what they disagree by"


def test_pairs_are_taken_some_at_a_time():
    seen = []

    class Identity(torch.nn.Module):
        def forward(self, image):
            seen.append(len(image))
            return torch.zeros_like(image)

    ddf = PairwiseInferer(batch_size=3, progress=False)(torch.rand(7, 2, 8, 8), Identity(), mask=None).ddf
    assert ddf.shape == (7, 2, 8, 8) and seen == [3, 3, 1]
    assert warp(torch.rand(7, 1, 8, 8), ddf).shape == (7, 1, 8, 8)
