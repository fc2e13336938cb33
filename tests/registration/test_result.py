"""Results on the full grid, and inferers of either kind."""

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer

from common.registration.result import RegistrationInferer, RegistrationResult, Stage, beyond_box, register


def test_a_part_is_widened_by_its_own_edge():
    values = torch.arange(6.0).view(1, 1, 2, 3)
    found = beyond_box(values, [(1, 3), (2, 5)], (4, 6))
    assert found.shape == (1, 1, 4, 6) and torch.equal(found[..., 1:3, 2:5], values)
    assert found[0, 0, 0].tolist() == [0, 0, 0, 1, 2, 2] and found[0, 0, 3].tolist() == [3, 3, 3, 4, 5, 5]
    assert beyond_box(values, [(0, 2), (0, 3)], (2, 3)) is values


def test_a_coarse_stage_is_told_in_voxels_of_the_image():
    stage = Stage(0.125, 10, 1.0, 0.0, torch.full((3, 2, 4, 5), 0.5), ((2, 10), (1, 11)), (12, 14))
    assert stage.title == "scale 1/8"
    assert stage.ddf().shape == (3, 2, 12, 14) and stage.ddf().unique().tolist() == [1.0]
    assert stage.ddf(slice(1, 2)).shape == (1, 2, 12, 14)


class Fields(RegistrationInferer):
    def __call__(self, inputs, network, mask=None, part=""):
        self.given = mask, part, torch.is_grad_enabled()
        return RegistrationResult(network(inputs), inconsistency=torch.ones(1))


class Plain(Inferer):
    def __call__(self, inputs, network, mask=None):
        self.mask = mask
        return network(inputs)


def test_any_inferer_gives_a_result_with_its_seconds():
    image, mask = torch.rand(3, 2, 8, 8), torch.ones(1, 1, 8, 8)
    own, plain = Fields(), Plain()
    found = register(image, torch.nn.Identity(), own, mask, "es")
    assert torch.equal(found.ddf, image) and found.inconsistency is not None and found.seconds > 0
    assert own.given[0] is mask and own.given[1:] == ("es", False)
    assert torch.equal(register(image, torch.nn.Identity(), plain, mask).ddf, image) and plain.mask is mask
    assert register(image, torch.nn.Identity(), SimpleInferer(), mask).stages == ()


def test_an_inferer_that_runs_another_passes_on_its_checkpoints(tmp_path):
    class Keeping(Fields):
        folder = None

        def checkpoints(self):
            return self.folder

        def keep_checkpoints(self, folder):
            self.folder = folder

        def forget(self):
            self.folder = None

    outer = Fields()
    assert outer.checkpoints() is None
    outer.inferer = Keeping()
    outer.keep_checkpoints(tmp_path)
    assert outer.checkpoints() == tmp_path == outer.inferer.folder
    outer.forget()
    assert outer.checkpoints() is None
    with pytest.raises(NotImplementedError):
        RegistrationInferer()(torch.zeros(1), torch.nn.Identity())
