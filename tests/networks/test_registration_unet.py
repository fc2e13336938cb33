import pytest
import torch

from cardiac_motion.fields.regularity import jacobian_determinant
from cardiac_motion.networks.registration_unet import RegistrationUNet


@pytest.mark.parametrize("size", [(64, 80), (37, 51), (16, 16), (20, 25, 18)])
def test_contract(size):
    network = RegistrationUNet(len(size))
    image = torch.rand(2, 2, *size)
    ddf = network(image)
    assert ddf.shape == (2, len(size), *size)
    assert ddf.abs().max() < 1e-2, "an untrained network is nearly the identity"
    ddf.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_widths_are_voxelmorphs():
    """Balakrishnan et al. 2019, VoxelMorph-2 of the reference code: about 0.1 M parameters in 2D, 0.33 M in 3D."""
    assert sum(p.numel() for p in RegistrationUNet(2).parameters()) == 100_530
    assert sum(p.numel() for p in RegistrationUNet(3).parameters()) == 301_411


def test_squarings_make_a_diffeomorphism():
    torch.manual_seed(0)
    network = RegistrationUNet(2, squarings=7)
    torch.nn.init.normal_(network.flow.weight, std=0.5)
    free = RegistrationUNet(2)
    free.load_state_dict(network.state_dict())
    image = torch.nn.functional.interpolate(torch.rand(1, 2, 6, 6), size=(48, 48), mode="bilinear")
    assert jacobian_determinant(network(image)).min() > 0 > jacobian_determinant(free(image)).min()


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 2, 16), (1, 2, 16, 16, 16)])
def test_ill_shaped(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 2, \*S\] with 2 spatial axes"):
        RegistrationUNet(2)(torch.zeros(shape))


def test_ill_built():
    with pytest.raises(ValueError, match="2 or 3"):
        RegistrationUNet(4)
    with pytest.raises(ValueError, match="equal numbers"):
        RegistrationUNet(2, encoder=(8, 8), decoder=(8,))


def test_what_it_was_padded_by_is_cropped_again():
    """The field of a pair of 16 rows is the field of the same pair as the middle of nothing more: no row is moved."""
    torch.manual_seed(0)
    network = RegistrationUNet(2, encoder=(8,), decoder=(8,), full=(8,))
    torch.nn.init.normal_(network.flow.weight, std=0.5)
    image = torch.rand(1, 2, 15, 16)
    padded = torch.nn.functional.pad(image, (0, 0, 0, 1), mode="replicate")
    torch.testing.assert_close(network(image), network(padded)[:, :, :15])
