"""Each step of the test-time training with a loss that pulls one way, so that what Adam does of it is known."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.network_stage import NetworkStage
from cardiac_motion.registration.testtime import MultiScaleTestTimeTraining
from cardiac_motion.registration.velocity_stage import VelocityStage
from tests.registration.staged import multi_scale

SIZE = (32, 40)
RATE = 0.125


class Pull:
    """Falls as the field grows along the rows, by the sign of the moving image; keeps what it is given."""

    def __init__(self, radius=1, slope=1.0):
        self.similarity, self.slope, self.given = SimpleNamespace(radius=radius), slope, []

    def __repr__(self):
        return f"Pull({self.similarity.radius}, {self.slope})"

    def __call__(self, ddf, image, mask, smoothness, velocity=None):
        self.given.append(SimpleNamespace(
            ddf=ddf.detach().clone(), image=image, mask=mask, regularisation_weight=smoothness,
            velocity=None if velocity is None else velocity.detach().clone(),
        ))  # fmt: skip
        way = image[:, :1].flatten(1).mean(1).sign().view(-1, 1, 1, 1)
        return -self.slope * (way * ddf[:, :1]).mean()


class Shift(nn.Module):
    """Moves everything by its one weight along the rows."""

    def __init__(self, start=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(start)))

    def forward(self, image):
        return torch.stack([self.weight, 0 * self.weight]).view(1, 2, 1, 1).expand(len(image), -1, *image.shape[2:])


def numbered(count=5, sign=1.0):
    """Pairs of even images: the moving one is t + 1 everywhere."""
    values = sign * torch.arange(1.0, count + 1).view(-1, 1, 1, 1)
    return values.expand(-1, 2, *SIZE).contiguous()


def trained(loss=None, **settings):
    given = {
        "scales": [1.0], "steps": 1, "learning_rate": RATE, "regularisation_weight": 1.0, "progress": False,
        "rate": RATE,
        "batch_size": 2, "sigma": 0.0, "loss": loss or Pull(),
    }  # fmt: skip
    return multi_scale(**{**given, **settings})


def along_rows(result):
    """The one displacement of each pair."""
    middle = result.ddf[:, 0, 4:-4, 4:-4].flatten(1)
    torch.testing.assert_close(middle, middle[:, :1].expand_as(middle))
    assert result.ddf[:, 1].abs().max() < 1e-6
    return middle[:, 0].tolist()


def test_the_papers_settings_are_the_defaults():
    made = MultiScaleTestTimeTraining()
    assert (
        made.scales == [0.125, 0.25, 0.5, 1.0] and made.steps == [3500] * 4 and made.regularisation_weight == [10.0] * 4
    )
    assert made.is_field == [False] * 4 and not made.init_from_network
    assert (made.batch_size, made.seed, made.progress, made.checkpoints()) == (8, 0, True, None)
    assert made.network_stage == NetworkStage(learning_rate=1e-3, carry_weights=True, patience=0, min_delta=1e-4)
    assert made.velocity_stage == VelocityStage(rate=0.2, resolution=0.5, sigma=1.0, squarings=0, strided_scales=())


@pytest.mark.parametrize("carry, wanted", [(True, 4), (False, 3)])
def test_a_scale_begins_with_the_weights_of_the_coarser_one_or_anew(carry, wanted):
    """A step of Adam is its rate. At half size it is worth two: 2 + (1 + 1) rates where weights are carried, 2 + 1."""
    result = trained(scales=[0.5, 1.0], carry_weights=carry)(numbered(), Shift())
    assert along_rows(result) == pytest.approx([wanted * RATE] * 5, rel=1e-4)
    coarse, fine = result.stages
    assert (coarse.scale, fine.scale) == (0.5, 1.0) and coarse.size == fine.size == SIZE
    assert coarse.coarse.shape == (5, 2, 16, 20) and coarse.coarse[0, 0, 8, 8] == pytest.approx(RATE)
    assert fine.coarse.shape == (5, 2, *SIZE) and coarse.box == ((0, 32), (0, 40))
    assert result.seconds == coarse.seconds + fine.seconds > 0


def test_the_given_network_is_not_changed_but_is_where_it_begins():
    network = Shift(3.0)
    assert along_rows(trained()(numbered(), network)) == pytest.approx([3 + RATE] * 5)
    assert network.weight.item() == 3.0


@pytest.mark.parametrize("steps, taken", [(1, 1), (2, 2), (3, 3), (7, 9)])
def test_steps_are_rounded_up_to_whole_passes_over_the_pairs(steps, taken):
    loss = Pull()
    result = trained(loss, steps=steps)(numbered(), Shift())
    assert len(loss.given) == result.stages[0].steps == taken
    assert along_rows(result) == pytest.approx([taken * RATE] * 5, rel=1e-3)
    last = loss.given[-min(3, taken) :]
    assert result.stages[0].loss == pytest.approx(-sum(float(g.ddf[:, 0].mean()) for g in last) / len(last))


@pytest.mark.parametrize("seed", [0, 5])
def test_pairs_come_in_the_order_of_the_seed(seed):
    loss = Pull()
    trained(loss, steps=6, seed=seed)(numbered(), Shift())
    order = torch.Generator().manual_seed(seed)
    expected = torch.cat([torch.randperm(5, generator=order) for _ in range(2)]) + 1
    seen = torch.cat([given.image[:, 0, 0, 0] for given in loss.given])
    assert seen.tolist() == expected.tolist() and [len(g.image) for g in loss.given] == [2, 2, 1, 2, 2, 1]


def test_each_pair_comes_with_its_own_mask_and_each_scale_with_its_smoothness():
    masks = torch.ones(5, 1, *SIZE)
    masks[:, 0, 16:20, 20:24] = torch.arange(5.0).view(-1, 1, 1) / 4
    for given_mask, many in ((masks, True), (masks[3:4], False), (None, False)):
        loss = Pull()
        trained(loss, scales=[0.5, 1.0], steps=3, regularisation_weight=[7.0, 3.0])(
            numbered(), Shift(), mask=given_mask
        )
        assert [g.regularisation_weight for g in loss.given] == [7.0] * 3 + [3.0] * 3
        for given in loss.given:
            if given_mask is None:
                assert given.mask is None
                continue
            middle = given.mask[:, 0, given.mask.shape[2] // 2 + 1, given.mask.shape[3] // 2 + 1]
            wanted = (given.image[:, 0, 0, 0] - 1) / 4 if many else torch.tensor([0.75])
            torch.testing.assert_close(middle, wanted)
            assert given.mask.shape[2:] == given.image.shape[2:]


def test_the_moving_image_is_warped_by_what_coarser_scales_found():
    loss, ramp = Pull(), (1 + torch.arange(float(SIZE[0])))[:, None].expand(3, 2, *SIZE).contiguous()
    trained(loss, scales=[0.5, 1.0])(ramp, Shift(2.0))
    at_half, at_full = loss.given[0].image, loss.given[-1].image
    assert at_half.shape[2:] == (16, 20) and at_full.shape[2:] == SIZE
    torch.testing.assert_close(at_half[0, 0], at_half[0, 1])
    moved = 2 * (2.0 + RATE)  # what the coarse scale found, on the full grid
    torch.testing.assert_close(at_full[0, 0, 4:-8], ramp[0, 0, 4:-8] + moved, atol=1e-3, rtol=0)
    torch.testing.assert_close(at_full[0, 1], ramp[0, 1])


def test_a_learned_network_is_where_the_first_scale_begins():
    plain, learned = (trained(init_from_network=word)(numbered(), Shift(2.0)) for word in (False, True))
    assert along_rows(plain) == pytest.approx([2 + RATE] * 5)
    assert along_rows(learned) == pytest.approx([2 + 2 + RATE] * 5)
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 8:24, 10:30] = 1
    part = trained(init_from_network=True, field_scales=[1.0])(numbered(), Shift(2.0), mask=mask)
    assert part.stages[0].box == ((7, 25), (9, 31)) and along_rows(part) == pytest.approx([2 + 2 * RATE] * 5, abs=1e-3)


def test_a_networks_way_is_its_own_where_its_loss_is_turned():
    assert along_rows(trained()(numbered(sign=-1.0), Shift())) == pytest.approx([-RATE] * 5)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_field_goes_its_rate_a_step_each_pair_its_own_way(steps):
    pairs = numbered()
    pairs[[1, 4]] *= -1
    loss = Pull()
    result = trained(loss, field_scales=[1.0], steps=steps, resolution=1.0)(pairs, Shift(9.0))
    assert along_rows(result) == pytest.approx([way * steps * RATE for way in (1, -1, 1, 1, -1)], rel=1e-2)
    assert [len(g.image) for g in loss.given] == [2] * steps + [2] * steps + [1] * steps and result.stages[
        0
    ].steps == steps
    assert all(g.velocity.shape == (len(g.image), 2, *SIZE) for g in loss.given)
    assert loss.given[-1].image[0, 0, 0, 0] == -5 and loss.given[0].velocity.abs().max() == 0


def test_a_fields_grid_is_coarser_than_the_image_and_goes_on_at_the_next_scale():
    loss = Pull()
    settings = {"scales": [0.25, 1.0], "field_scales": [0.25, 1.0], "resolution": 0.5}
    result = trained(loss, **settings)(numbered(2), Shift())
    (coarse, fine) = loss.given
    assert coarse.velocity.shape[2:] == (8, 10) == coarse.ddf.shape[2:] and coarse.image.shape[2:] == (8, 10)
    assert fine.velocity.shape[2:] == (16, 20) and fine.ddf.shape[2:] == SIZE == fine.image.shape[2:]
    # a rate on a quarter of the grid is two on half of it, and one is added there; on the full grid that is twice
    torch.testing.assert_close(fine.velocity[:, 0, 4:-4, 4:-4], torch.full((2, 8, 12), 2 * RATE), atol=1e-3, rtol=0)
    assert along_rows(result) == pytest.approx([2 * (2 + 1) * RATE] * 2, rel=1e-2)
    assert result.stages[-1].coarse.shape[2:] == (16, 20)


def test_a_field_begins_in_the_frame_that_the_network_warped():
    """The network gives 2 rows at half size, 4 on the full grid; the field adds a step on half the grid, worth two."""
    result = trained(scales=[0.5, 1.0], field_scales=[1.0], learning_rate=0.0)(numbered(), Shift(2.0))
    assert along_rows(result) == pytest.approx([2 * 2 + 2 * RATE] * 5, rel=1e-3)


def test_a_velocity_is_integrated_before_the_loss_sees_it():
    """Of a stretch the exponential is more than the velocity; of a shift it is the same."""
    stretch = 0.05 * (torch.arange(float(SIZE[0])) - 15.5)[:, None].expand(1, SIZE[0], SIZE[1])

    class Stretches(Pull):
        def __call__(self, ddf, image, mask, smoothness, velocity=None):
            super().__call__(ddf, image, mask, smoothness, velocity)
            return (velocity[:, 0] - stretch).square().mean()

    settings = {"field_scales": [1.0], "resolution": 1.0, "steps": 40}
    for squarings, share in ((0, 0.05), (6, 2.718281828**0.05 - 1)):
        loss = Stretches()
        result = trained(loss, squarings=squarings, **settings)(numbered(1), Shift())
        rows = slice(10, 22)
        wanted = (torch.arange(float(SIZE[0])) - 15.5)[rows] * share
        torch.testing.assert_close(result.ddf[0, 0, rows, 20], wanted, atol=0.02, rtol=0)
        last = loss.given[-1]
        torch.testing.assert_close(last.ddf[0, 0, 21, 20] / last.velocity[0, 0, 21, 20], torch.tensor(share / 0.05),
                                   atol=0.004, rtol=0)  # fmt: skip


def test_a_field_is_seen_through_a_gaussian():
    """A pull at one place moves what is around it."""

    class Place(Pull):
        def __call__(self, ddf, image, mask, smoothness, velocity=None):
            super().__call__(ddf, image, mask, smoothness, velocity)
            return -ddf[:, 0, 16, 20].mean()

    settings = {"field_scales": [1.0], "resolution": 1.0, "steps": 2}
    sharp, wide = (trained(Place(), sigma=s, **settings)(numbered(1), Shift()).ddf[0, 0, 16] for s in (0.0, 2.0))
    assert sharp[20] > 0 and sharp[22].abs() < 1e-6
    assert 0 < wide[22] < wide[20] and wide[22] > 0.3 * wide[20] and wide[35].abs() < 1e-4


class Falls(Pull):
    """A loss that falls by ``step`` a call, whatever is done, for ``calls``."""

    def __init__(self, step, calls=1000):
        super().__init__()
        self.step, self.calls = step, calls

    def __call__(self, ddf, image, mask, smoothness, velocity=None):
        super().__call__(ddf, image, mask, smoothness, velocity)
        return 0 * ddf.mean() - self.step * min(len(self.given), self.calls)


@pytest.mark.parametrize(
    "step, settings, taken",
    [
        (0.0, {"patience": 3}, 4), (0.0, {"patience": 0}, 20), (0.01, {"patience": 3}, 20),
        (0.01, {"patience": 3, "min_delta": 0.05}, 4), (5e-5, {"patience": 2}, 3),
    ],
)  # fmt: skip
def test_a_scale_without_progress_ends(step, settings, taken):
    result = trained(Falls(step), steps=20, batch_size=5, **settings)(numbered(), Shift())
    assert result.stages[0].steps == taken


@pytest.mark.parametrize("radius, stops", [(2, False), (3, True)])
def test_the_smallest_image_is_the_window(radius, stops):
    """A scale of 1/8 leaves 4 × 5 of 32 × 40, a scale of 5/32 leaves 5 × 6."""
    run = trained(Pull(radius), scales=[5 / 32, 1.0], learning_rate=0.0)
    if stops:
        with pytest.raises(InputError) as raised:
            run(numbered(1), Shift())
        assert str(raised.value) == (
            "scale 5/32 reduces 32×40 to 5×6 pixels, less than the NCC window of 7: omit this scale or reduce the "
            "radius"
        )
    else:
        assert len(run(numbered(1), Shift()).stages) == 2


class Bar:
    made = []  # noqa: RUF012

    def __init__(self, **settings):
        self.settings, self.count, self.said = settings, 0, []
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *gone):
        pass

    def update(self, count=1):
        self.count += count

    def set_postfix(self, **words):
        self.said.append(words)


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_a_scale(monkeypatch, progress):
    monkeypatch.setattr("cardiac_motion.registration.optimisation.tqdm", Bar)
    monkeypatch.setattr(Bar, "made", [])
    settings = {"scales": [0.5, 1.0], "steps": [4, 2], "field_scales": [1.0], "progress": progress}
    trained(**settings)(numbered(), Shift())
    network, field = Bar.made
    assert network.settings["desc"] == "scale 1/2" and field.settings["desc"] == "scale 1"
    assert network.settings["total"] == network.count == 6 and field.settings["total"] == field.count == 6
    assert all(bar.settings["unit"] == "step" and bar.settings["disable"] is not progress for bar in Bar.made)
    assert len(network.said) == 2 and len(field.said) == 3
    assert float(network.said[-1]["loss"]) == pytest.approx(-4 * RATE, abs=1e-3)


def test_checkpoints_have_the_name_of_their_part_and_go_with_the_case(tmp_path):
    made = trained(scales=[0.5, 1.0], checkpoint_dir=str(tmp_path / "a"))
    assert made.checkpoints() == tmp_path / "a"
    made.keep_checkpoints(tmp_path / "b")
    assert made.checkpoints() == tmp_path / "b"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other").touch()
    for part in ("", ".es"):
        made(numbered(), Shift(), part=part)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [".scales.es.pt", ".scales.pt", "other"]
    kept = torch.load(tmp_path / "b" / ".scales.pt", weights_only=True)
    assert set(kept) == {"identity", "network", "prior", "velocity", "done"} and len(kept["done"]) == 2
    made.forget()
    made.forget()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["other"]
    none = trained()
    none.keep_checkpoints(tmp_path / "b")
    assert none.checkpoints() is None
    none(numbered(), Shift())
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["other"]


def test_what_is_done_is_not_done_again_unless_something_else_is_asked(tmp_path):
    settings = {"scales": [0.5, 1.0], "checkpoint_dir": tmp_path}
    (tmp_path / ".scales.pt").write_bytes(b"damaged")
    first = trained(**settings)(numbered(), Shift())
    loss = Pull()
    again = trained(loss, **{**settings, "progress": True})
    found = again(numbered(), Shift())
    assert loss.given == [] and torch.equal(found.ddf, first.ddf)
    assert [stage.seconds for stage in found.stages] == [stage.seconds for stage in first.stages]
    again.forget()
    assert not list(tmp_path.iterdir()), "what it goes on with is its own"
    mask, network = torch.ones(1, 1, *SIZE), Shift()
    for change in ({}, {"mask": mask}, {"inputs": 2 * numbered()}, {"network": Shift(1.0)}, {}):
        loss = Pull()
        trained(loss, **settings)(**{"inputs": numbered(), "network": network, **change})
        assert len(loss.given) == 2, change
    loss = Pull(slope=2.0)
    trained(loss, **settings)(numbered(), network)
    assert len(loss.given) == 2
