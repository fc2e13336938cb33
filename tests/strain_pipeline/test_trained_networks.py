import pytest
import torch

from cardiac_motion.networks.segmentation_unet import SegmentationUNet
from cardiac_motion.networks.view_classifier import Inception, PReLU, ViewClassifier
from cardiac_motion.training.frame_losses import segmentation_loss, view_loss
from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM
from cardiac_motion.ventricle.views import VIEWS


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_papers_unet():
    network = SegmentationUNet()
    assert network.widths == (32, 32, 64, 128, 128) and parameters(network) == 1_256_356
    assert network(torch.rand(1, 1, 256, 256)).shape == (1, 4, 256, 256)
    assert parameters(SegmentationUNet((8, 16))) == sum(
        9 * (a * b + b * b) + 4 * b for a, b in ((1, 8), (8, 16), (24, 8))
    ) + (8 * 4 + 4)


def test_the_papers_classifier():
    network = ViewClassifier()
    assert len(VIEWS) == 8 and network(torch.rand(2, 1, 128, 128)).shape == (2, 8)
    assert parameters(network) == 491_385
    assert sum(isinstance(part, Inception) for part in network.modules()) == 5
    assert network.features(torch.rand(2, 1, 128, 128)).shape[2:] == (4, 4), "five poolings"


def test_inception_keeps_its_input():
    block = Inception(6, 4).eval()
    x = torch.rand(1, 6, 9, 9)
    assert block(x).shape == (1, 18, 9, 9) and torch.equal(block(x)[:, :6], x)


def test_prelu_is_torchs():
    ours, theirs = PReLU(3), torch.nn.PReLU(3)
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([0.1, 0.25, -0.5]))
        theirs.weight.copy_(ours.weight)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(ours.double()(x), theirs.double()(x))
    assert torch.autograd.gradcheck(ours.double(), x)


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 1, 60, 64), (1, 64, 64)])
def test_unet_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 1, H, W\] with multiples of 16"):
        SegmentationUNet()(torch.zeros(shape))


def test_classifier_refuses_other_shapes():
    with pytest.raises(ValueError, match="of at least 32 pixels"):
        ViewClassifier(filters=2)(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match="two classes"):
        ViewClassifier(classes=1)
    with pytest.raises(ValueError, match="two widths"):
        SegmentationUNet((8,))


def fit(network, image, label, loss, steps):
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(network(image), label).backward()
        optimizer.step()
    return network(image)


def test_unet_learns_two_frames():
    torch.manual_seed(0)
    label = torch.zeros(2, 1, 32, 32, dtype=torch.long)
    label[0, 0, 4:16, 8:20], label[1, 0, 10:28, 4:14], label[:, :, 22:30, 18:30] = 1, 2, 3
    image = label / 4 + 0.05 * torch.rand(2, 1, 32, 32)
    found = fit(SegmentationUNet((8, 16, 16)), image, label, segmentation_loss, 40).argmax(1, keepdim=True)
    assert (found == label).float().mean() > 0.98


def test_classifier_learns_eight_frames():
    torch.manual_seed(0)
    label = torch.arange(8)
    found = fit(ViewClassifier(filters=8, dropout=0.0), torch.rand(8, 1, 64, 64), label, view_loss, 30)
    assert torch.equal(found.argmax(1), label)


def test_segmentation_loss_of_a_perfect_and_a_wrong_answer():
    label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    label[..., 2:5, 2:5], label[..., 6:, 6:], label[..., 6:, :2] = 1, 2, 3
    logits = 50.0 * torch.nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1)
    assert segmentation_loss(logits, label) < 1e-4
    assert segmentation_loss(logits.roll(1, 1), label) > 10


def test_an_untold_pixel_may_be_background_or_atrium():
    """The cross-entropy is −log(p₀ + p₃); in the Dice the atrium is what the network itself takes for it."""
    logits = torch.randn(1, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    untold = torch.full((1, 1, 6, 6), BACKGROUND_OR_ATRIUM)
    share = logits.softmax(1)
    joint = -(share[:, 0] + share[:, 3]).log().mean()
    truth = share.detach()[:, [0, 3]] / share.detach()[:, [0, 3]].sum(1, keepdim=True)
    atrium = (2 * (share[:, 3] * truth[:, 1]).sum() + 1) / ((share[:, 3] + truth[:, 1]).sum() + 1)
    empty = sum(1 / (share[:, value].sum() + 1) for value in (1, 2))
    expected = torch.autograd.grad(joint - (atrium + empty) / 3, logits)[0]
    found = torch.autograd.grad(segmentation_loss(logits, untold), logits)[0]
    assert torch.allclose(found, expected)
