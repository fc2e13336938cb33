"""Results on the full grid, and inferers of either kind."""

from types import SimpleNamespace

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer

from cardiac_motion.registration.result import (
    RegistrationInferer,
    RegistrationResult,
    Stage,
    are_consecutive,
    pad_to_image,
    register,
)


def test_a_part_is_widened_by_its_own_edge():
    values = torch.arange(6.0).view(1, 1, 2, 3)
    found = pad_to_image(values, [(1, 3), (2, 5)], (4, 6))
    assert found.shape == (1, 1, 4, 6) and torch.equal(found[..., 1:3, 2:5], values)
    assert found[0, 0, 0].tolist() == [0, 0, 0, 1, 2, 2] and found[0, 0, 3].tolist() == [3, 3, 3, 4, 5, 5]
    assert pad_to_image(values, [(0, 2), (0, 3)], (2, 3)) is values


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


@pytest.mark.parametrize(
    "scale, title",
    [(1.0, "scale 1"), (0.125, "scale 1/8"), (1 / 64, "scale 1/64"), (0.3, "scale 3/10"), (1 / 3, "scale 1/3")],
)
def test_a_stage_is_named_by_its_scale(scale, title):
    assert Stage(scale, 1, 0.0, 0.0, torch.zeros(1, 2, 1, 1), ((0, 1), (0, 1)), (1, 1)).title == title


def test_a_stage_gives_the_pairs_that_are_wanted_in_the_size_of_the_image():
    """A ramp on half the grid: its values double, and it goes on beyond its box as its edge is."""
    coarse = torch.arange(4.0).expand(3, 2, 4, 4) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    stage = Stage(0.5, 1, 0.0, 0.0, coarse, ((2, 10), (3, 11)), (12, 14))
    found = stage.ddf(slice(1, 3))
    assert found.shape == (2, 2, 12, 14)
    torch.testing.assert_close(found[0], stage.ddf()[1])
    torch.testing.assert_close(found[0, 0, 5, 6], torch.tensor(2 * 2 * 1.25))  # column 3 of 8 lies at 1.25 of 4
    assert found[0, 0, 5, :4].unique().numel() == 1 and found[0, 0, 0].equal(found[0, 0, 2])
    torch.testing.assert_close(found[0, 0, 11, 13], torch.tensor(2 * 2 * 3.0))


def test_what_is_not_told_is_none():
    bare = RegistrationResult(torch.zeros(1))
    assert (bare.stages, bare.inconsistency, bare.deviation) == ((), None, None)
    assert (bare.seconds, bare.processor_seconds) == (0.0, 0.0)


@pytest.mark.parametrize("kind", [Fields, Plain])
def test_seconds_are_those_of_the_clock_and_of_the_processor(kind, monkeypatch):
    clocks = {"perf_counter": iter([10.0, 13.5]), "process_time": iter([5.0, 7.0])}
    clock = SimpleNamespace(**{name: ticks.__next__ for name, ticks in clocks.items()})
    monkeypatch.setattr("cardiac_motion.registration.result.time", clock)  # pytest's own clock goes on
    result = register(torch.rand(1, 2, 4, 4), torch.nn.Identity(), kind())
    assert (result.seconds, result.processor_seconds) == (3.5, 2.0)


def test_what_an_inferer_tells_is_kept_and_nothing_is_learned():
    result = register(torch.rand(1, 2, 4, 4), torch.nn.Conv2d(2, 2, 1), Fields())
    assert result.inconsistency.tolist() == [1.0] and not result.ddf.requires_grad
    assert not register(torch.rand(1, 2, 4, 4), torch.nn.Conv2d(2, 2, 1), Plain()).ddf.requires_grad


def test_an_inferer_that_knows_no_mask_gets_none():
    class Maskless(Inferer):
        def __call__(self, inputs, network, **given):
            self.given = given
            return network(inputs)

    one = Maskless()
    register(torch.rand(1, 2, 4, 4), torch.nn.Identity(), one)
    assert one.given == {}
    mask = torch.ones(1, 1, 4, 4)
    register(torch.rand(1, 2, 4, 4), torch.nn.Identity(), one, mask)
    assert one.given["mask"] is mask and list(one.given) == ["mask"]
    own = Fields()
    register(torch.rand(1, 2, 4, 4), torch.nn.Identity(), own)
    assert own.given[:2] == (None, "")


def test_one_around_an_inferer_of_monais_keeps_nothing(tmp_path):
    outer = Fields()
    outer.inferer = SimpleInferer()
    assert outer.checkpoints() is None
    outer.keep_checkpoints(tmp_path)
    outer.forget()


def test_consecutive_pairs():
    frames = torch.rand(4, 3, 3)
    pairs = torch.stack([frames[:-1], frames[1:]], 1)
    assert are_consecutive(pairs) and are_consecutive(pairs[:1])
    assert not are_consecutive(pairs.flip(0)) and not are_consecutive(pairs.flip(1))
    assert not are_consecutive(pairs[[0, 2]])


def test_a_volume_is_widened_along_each_axis():
    values = torch.arange(8.0).view(1, 1, 2, 2, 2)
    found = pad_to_image(values, [(1, 3), (0, 2), (2, 4)], (4, 3, 5))
    assert found.shape == (1, 1, 4, 3, 5) and torch.equal(found[0, 0, 1:3, 0:2, 2:4], values[0, 0])
    assert found[0, 0, 0, 2, 0] == values[0, 0, 0, 1, 0] and found[0, 0, 3, 0, 4] == values[0, 0, 1, 0, 1]
    assert torch.equal(pad_to_image(values, [(0, 2), (0, 2), (0, 2)], (2, 2, 3))[..., 2], values[..., 1])
