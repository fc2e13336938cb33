import pytest
import torch

from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.fields.regularity import folding_fraction
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.testtime import expand_scales
from tests.conftest import moving_cine, rotation
from tests.registration.staged import multi_scale

SIZE = (72, 80)


def pairs(frames=4):
    cine, angle = moving_cine(frames, SIZE)
    return torch.stack([cine[:-1], cine[1:]], 1), angle


def true_ddf(angle):
    """Pull-back of a rotation by ``angle`` a frame: frame t+1 at p shows what frame t shows at R(−angle)·p."""
    grid = identity_grid(SIZE, torch.zeros(1))[0].movedim(0, -1)
    return (rotation(grid, -angle, SIZE) - grid).movedim(-1, 0)


def endpoint_error(ddf, angle, margin=10):
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    return (ddf - true_ddf(angle))[inside].square().sum(1).sqrt().mean().item()


def inferer(**changes):
    settings = {
        "scales": [0.25, 0.5, 1.0], "steps": [20, 20, 20], "field_scales": [0.25, 0.5, 1.0], "squarings": 5,
        "loss": RegistrationLoss(4, mse_weight=50.0), "regularisation_weight": 1.0, "progress": False, "batch_size": 2,
    }  # fmt: skip
    return multi_scale(**{**settings, **changes})


def network(**settings):
    torch.manual_seed(0)
    return RegistrationUNet(2, encoder=(8, 16, 16), decoder=(16, 16, 8), full=(8,), **settings)


@pytest.mark.parametrize("squarings", [0, 5])
def test_field_finds_a_rotation(squarings):
    image, angle = pairs()
    register = inferer(squarings=squarings)
    result = register(image, network())
    ddf = result.ddf
    assert ddf.shape == (3, 2, *SIZE)
    assert endpoint_error(ddf, angle) < 0.1 < endpoint_error(torch.zeros_like(ddf), angle)
    assert folding_fraction(ddf).max() == 0
    assert [r.scale for r in result.stages] == [0.25, 0.5, 1.0]
    assert all(r.ddf().shape == ddf.shape for r in result.stages)
    errors = [endpoint_error(r.ddf(), angle) for r in result.stages]
    assert errors[2] < errors[0]


def test_strided_scales_find_the_same_motion():
    image, angle = pairs()
    plain, register = inferer(), inferer(strided_scales=[1.0])
    ddf = register(image, network()).ddf
    assert endpoint_error(ddf, angle) < 0.1 and not torch.equal(ddf, plain(image, network()).ddf)
    assert register.loss.similarity.stride == 1, "the loss is the caller's"


def test_a_quick_scale_is_one_of_the_field():
    with pytest.raises(InputError, match="must be among the field_scales"):
        inferer(field_scales=[1.0], strided_scales=[0.5])


@pytest.mark.parametrize("carry_weights", [True, False])
def test_network_finds_a_rotation(carry_weights):
    image, angle = pairs()
    register = inferer(
        scales=[0.5, 1.0], steps=[60, 20], field_scales=[], squarings=0, carry_weights=carry_weights,
        learning_rate=5e-3, regularisation_weight=0.1, batch_size=3,
    )  # fmt: skip
    start = network()
    before = [p.clone() for p in start.parameters()]
    ddf = register(image, start).ddf
    assert endpoint_error(ddf, angle) < 0.15 < endpoint_error(torch.zeros_like(ddf), angle)
    assert all(torch.equal(a, b) for a, b in zip(before, start.parameters(), strict=True)), "the given network is kept"


def test_network_then_field_compose():
    image, angle = pairs()
    register = inferer(scales=[0.5, 1.0], steps=[30, 20], field_scales=[1.0], learning_rate=5e-3)
    assert endpoint_error(register(image, network(squarings=5)).ddf, angle) < 0.15


class Known(torch.nn.Module):
    """A network that knows the field of each scale and learns nothing: a stretch when coarse, a translation when fine.

    Both in pixels of the full grid about its middle; at scale 1/2 half of it.
    """

    STRETCH, ROWS, COLUMNS = 0.2, 3.0, -2.0

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        if image.shape[2:] == SIZE:
            ddf = torch.tensor([self.ROWS, self.COLUMNS]).view(1, 2, 1, 1).expand(len(image), 2, *SIZE)
        else:
            ddf = self.STRETCH * from_the_middle(image.shape[2:]).expand(len(image), -1, -1, -1)
        return ddf + self.weight


def from_the_middle(size):
    axes = [torch.arange(n) - (n - 1) / 2 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def composed():
    """Where the pixel p of the fixed frame lies in the moving one: translated first, as the fine scale saw the warped
    frame, then stretched, as that frame was made. The other order is 0.2 of the translation away, 0.7 pixels."""
    moved = from_the_middle(SIZE) + torch.tensor([Known.ROWS, Known.COLUMNS]).view(1, 2, 1, 1)
    return (1 + Known.STRETCH) * moved - from_the_middle(SIZE)


def test_the_fine_scale_is_applied_in_the_frame_that_the_coarse_one_warped():
    image = torch.rand(1, 2, *SIZE, generator=torch.Generator().manual_seed(0))
    register = inferer(scales=[0.5, 1.0], steps=1, field_scales=[], squarings=0, learning_rate=0.0)
    found = register(image, Known()).ddf
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(found[inner], composed()[inner], atol=1e-3, rtol=0)


def test_a_field_is_applied_in_the_frame_that_the_network_warped():
    """The network gives the stretch, the field at the fine scale has to find the translation."""
    torch.manual_seed(0)
    moving = torch.nn.functional.interpolate(torch.rand(1, 1, 24, 26), size=SIZE, mode="bicubic")
    fixed = warp(moving, composed())
    register = inferer(
        scales=[0.5, 1.0], steps=[1, 60], field_scales=[1.0], squarings=0, learning_rate=0.0, regularisation_weight=10.0
    )
    found = register(torch.cat([moving, fixed], 1), Known()).ddf
    off = (found - composed())[..., 18:-18, 18:-18].square().sum(1).sqrt()
    assert off.mean() < 0.2


def test_volumes():
    torch.manual_seed(0)
    moving = torch.nn.functional.interpolate(torch.rand(1, 1, 7, 8, 6), size=(28, 32, 24), mode="trilinear")
    image = torch.cat([moving, moving.roll(-2, 3)], 1)  # fixed(p) = moving(p + 2) along the second axis
    register = inferer(scales=[0.5, 1.0], steps=[30, 20], field_scales=[0.5, 1.0], loss=RegistrationLoss(2))
    ddf = register(image, RegistrationUNet(3)).ddf
    inside = ddf[0, :, 6:-6, 6:-6, 6:-6]
    assert (inside[1] - 2).abs().mean() < 0.15
    assert inside[[0, 2]].abs().mean() < 0.15


def test_only_the_masks_box_is_computed():
    image, angle = pairs()
    mask = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    mask[..., 16:56, 14:64] = True
    register = inferer()
    result = register(image, network(), mask=mask)
    ddf = result.ddf
    assert ddf.shape == (3, 2, *SIZE)
    assert result.stages[-1].box == ((12, 60), (10, 68))
    inside = (ddf - true_ddf(angle))[..., 20:52, 18:60].square().sum(1).sqrt().mean()
    assert inside < 0.1
    assert torch.equal(ddf[..., 0, :], ddf[..., 11, :]), "the edge is repeated outside"


def test_same_seed_same_field():
    image, _ = pairs(9)
    settings = {"field_scales": [1.0], "steps": [4, 4, 4]}
    first, second = (inferer(seed=3, **settings)(image, network()).ddf for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, inferer(seed=4, **settings)(image, network()).ddf)


@pytest.mark.parametrize("field_scales", [[], [0.5, 1.0], [1.0]])
def test_killed_run_goes_on_to_the_same_field(tmp_path, monkeypatch, field_scales):
    image, _ = pairs()
    settings = {"field_scales": field_scales, "steps": [4, 4, 4], "checkpoint_dir": tmp_path}
    undisturbed = inferer(**{**settings, "checkpoint_dir": None})(image, network()).ddf
    killed = inferer(**settings)
    at_scale = killed._rescale_inputs

    def die_at_the_last(scale, *rest):
        if scale == 1.0:
            raise KeyboardInterrupt
        return at_scale(scale, *rest)

    monkeypatch.setattr(killed, "_rescale_inputs", die_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        killed(image, network())
    resumed = inferer(**settings)
    scales = []
    at_scale = resumed._rescale_inputs
    monkeypatch.setattr(resumed, "_rescale_inputs", lambda scale, *rest: scales.append(scale) or at_scale(scale, *rest))
    assert torch.equal(resumed(image, network()).ddf, undisturbed)
    assert scales == [1.0], "the scales that were done are not done again"

    other = inferer(**{**settings, "regularisation_weight": 2.0})
    at_scale = other._rescale_inputs
    monkeypatch.setattr(other, "_rescale_inputs", lambda scale, *rest: scales.append(scale) or at_scale(scale, *rest))
    other(image, network())
    assert scales == [1.0, 0.25, 0.5, 1.0], "other settings begin anew"
    other.forget()
    assert not list(tmp_path.iterdir())


def test_damaged_checkpoint_begins_anew(tmp_path):
    image, _ = pairs()
    settings = {"steps": [2, 2, 2], "checkpoint_dir": tmp_path}
    expected = inferer(**settings)(image, network()).ddf
    (tmp_path / ".scales.pt").write_bytes(b"not a checkpoint")
    assert torch.equal(inferer(**settings)(image, network()).ddf, expected)


def test_plateau_ends_a_scale():
    image = torch.full((4, 2, *SIZE), 0.5)
    register = inferer(scales=[1.0], steps=500, field_scales=[], patience=3, batch_size=2, loss=RegistrationLoss(4))
    assert register(image, network()).stages[0].steps <= 10


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"scales": [0.05, 1.0], "steps": 2, "field_scales": []}, "scale 1/20 reduces 72×80 to 4×4 pixels"),
        ({"scales": [1.0, 0.5], "steps": 2, "field_scales": []}, "scales must increase"),
        ({"scales": [0.0, 1.0], "steps": 2, "field_scales": []}, "scales must increase"),
        ({"scales": [], "steps": [], "field_scales": []}, "scales must increase"),
        ({"steps": [1, 2]}, "2 values for 3 scales"),
        ({"field_scales": [0.25]}, "must be the finest"),
    ],
)
def test_settings_that_leave_nothing(changes, reason):
    with pytest.raises(InputError, match=reason):
        inferer(**changes)(pairs()[0], network())


def test_empty_mask():
    with pytest.raises(InputError, match="mask is empty"):
        inferer()(pairs()[0], network(), mask=torch.zeros(1, 1, *SIZE))


def test_bounding_box():
    mask = torch.zeros(2, 1, 9, 8, 7)
    mask[0, 0, 2, 3, 4] = mask[1, 0, 6, 3, 1] = 1
    assert bounding_box(mask, (9, 8, 7)) == ((2, 7), (3, 4), (1, 5))
    assert bounding_box(mask, (9, 8, 7), 2) == ((0, 9), (1, 6), (0, 7))
    assert bounding_box(None, (9, 8, 7), 2) == ((0, 9), (0, 8), (0, 7))
    assert bounding_box(mask, (9, 8, 7), 0, 4) == ((2, 7), (2, 6), (1, 5))
    assert bounding_box(mask, (9, 8, 7), 0, 20) == ((0, 9), (0, 8), (0, 7))
    assert expand_scales(2, 3, "steps") == [2, 2, 2]


def test_a_small_mask_is_widened_to_what_the_coarsest_scale_needs():
    image, _ = pairs()
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 60:70, 40:52] = 1
    result = inferer(scales=[0.125, 1.0], steps=2, field_scales=[0.125, 1.0])(image, network(), mask=mask)
    assert [stage.box for stage in result.stages] == [((0, 72), (8, 80))] * 2  # 9 pixels of the window at 1/8
    assert result.stages[0].coarse.shape[2:] == (9, 9) and result.ddf.shape == (3, 2, *SIZE)
