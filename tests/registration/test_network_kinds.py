"""What a network can do is seen by its methods."""

import torch

from cardiac_motion.networks.ncc_flow import NCCFlow
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.network_kinds import RefinesField, TellsDeviation


def test_which_networks_refine_and_tell_their_deviation():
    network = NCCFlow()
    assert isinstance(network, RefinesField) and isinstance(network, TellsDeviation)
    for other in (RegistrationUNet(2), torch.nn.Identity()):
        assert not isinstance(other, RefinesField) and not isinstance(other, TellsDeviation)
