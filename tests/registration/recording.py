"""An inferer that tells what it was asked, for those that run another."""

import torch

from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult


class Records(RegistrationInferer):
    """Finds that nothing moves, and keeps what it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __call__(self, inputs, network, mask=None, part=""):
        self.asked.append((len(inputs), mask, part))
        return RegistrationResult(torch.zeros(len(inputs), 2, *inputs.shape[2:]))
