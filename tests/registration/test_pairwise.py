"""Motion at a working size, and how far the two directions miss each other."""

import pytest
import torch
from torch import nn

from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.pairwise import PairwiseInferer, SizedInferer, SpannedInferer, make_consistent
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.registration.testtime import MultiScaleTestTimeTraining
from tests.registration.recording import Records
from tests.registration.staged import multi_scale


class Shift(nn.Module):
    """Moves everything by a constant: ``there`` one way, ``back`` the other, told apart by the brighter image."""

    def __init__(self, there, back):
        super().__init__()
        self.there, self.back, self.sizes = torch.tensor(there), torch.tensor(back), []

    def forward(self, image):
        self.sizes.append(tuple(image.shape[2:]))
        forward = image[:, 0].mean() < image[:, 1].mean()
        return (self.there if forward else self.back).view(1, 2, 1, 1).expand(len(image), -1, *image.shape[2:])


def pairs(size=(60, 100)):
    return torch.stack([torch.zeros(3, *size), torch.ones(3, *size)], 1)


def test_inconsistency_is_what_the_two_directions_miss_each_other_by():
    inferer = PairwiseInferer(composition=True, progress=False)
    result = inferer(pairs(), Shift([1.0, 2.0], [-1.0, -1.0]))
    torch.testing.assert_close(result.ddf[0, :, 0, 0], torch.tensor([1.0, 1.5]))
    torch.testing.assert_close(result.inconsistency, torch.ones(3, 1, 60, 100))
    assert PairwiseInferer(progress=False)(pairs(), Shift([1.0, 0.0], [0.0, 0.0])).inconsistency is None


def test_a_large_box_is_made_smaller_and_its_field_larger():
    network = Shift([1.0, 2.0], [-1.0, -1.0])
    inferer = SizedInferer(PairwiseInferer(composition=True, progress=False), 40)
    mask = torch.zeros(1, 1, 60, 100, dtype=torch.bool)
    mask[..., 5:55, 10:90] = True
    result = inferer(pairs(), network, mask=mask)
    ddf = result.ddf
    assert set(network.sizes) == {(25, 40)}
    assert ddf.shape == (3, 2, 60, 100)
    torch.testing.assert_close(ddf[1, :, 30, 50], torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(ddf[1, :, 0, 0], torch.tensor([2.0, 3.0]), msg="beyond the box its edge goes on")
    torch.testing.assert_close(result.inconsistency, torch.full((3, 1, 60, 100), 2.0))


def test_a_small_cine_is_left_as_it_is():
    network = Shift([1.0, 2.0], [-1.0, -2.0])
    inferer = SizedInferer(PairwiseInferer(progress=False), 320)
    result = inferer(pairs(), network)
    torch.testing.assert_close(result.ddf[0, :, 0, 0], torch.tensor([1.0, 2.0]))
    assert set(network.sizes) == {(60, 100)} and result.inconsistency is None


def test_a_small_cine_is_made_larger_where_that_is_asked_for():
    network = Shift([1.0, 2.0], [-1.0, -2.0])
    inferer = SizedInferer(PairwiseInferer(composition=True, progress=False), 320, shortest=200)
    ddf = inferer(pairs(), network).ddf
    assert set(network.sizes) == {(120, 200)} and ddf.shape == (3, 2, 60, 100)
    torch.testing.assert_close(ddf[0, :, 10, 10], torch.tensor([0.5, 1.0]))


def test_a_zoomed_picture_is_registered_larger_and_its_field_is_in_its_own_pixels():
    for region in (None, ((10, 50), (20, 80))):
        network = Shift([1.0, 2.0], [-1.0, -2.0])
        inferer = SizedInferer(PairwiseInferer(composition=True, progress=False), 320, zoom=2.0).restrict(region)
        ddf = inferer(pairs(), network).ddf
        assert set(network.sizes) == ({(120, 200)} if region is None else {(80, 120)})
        assert ddf.shape == (3, 2, 60, 100)
        torch.testing.assert_close(ddf[0, :, 10, 10], torch.tensor([0.5, 1.0]))


class Rows(nn.Module):
    """Says of each pixel how bright the moving image is there."""

    def forward(self, image):
        self.size = tuple(image.shape[2:])
        return image[:, :1].expand(-1, 2, -1, -1)


def test_of_a_region_alone_the_field_is_as_without():
    """The pixels keep the size that the whole box gives them."""
    network, mask = Rows(), torch.zeros(1, 1, 60, 100, dtype=torch.bool)
    mask[..., 4:56, 10:90] = True
    ramp = torch.arange(100.0).expand(2, 2, 60, 100).contiguous()
    whole = SizedInferer(PairwiseInferer(progress=False), 40)
    all_of_it = whole(ramp, network, mask=mask).ddf
    assert network.size == (26, 40)
    part = whole.restrict(((10, 50), (30, 70)))(ramp, network, mask=mask).ddf
    assert network.size == (20, 20) and part.shape == all_of_it.shape
    torch.testing.assert_close(part[..., 12:48, 32:68], all_of_it[..., 12:48, 32:68], atol=0.6, rtol=0)
    torch.testing.assert_close(part[..., 30, 5], part[..., 30, 30], msg="beyond it its edge goes on")
    whole.restrict(((10, 20), (30, 70)))(ramp, network, mask=mask)
    assert network.size == (26, 40), "a sliver is registered with what is around it"


class FallsShort(torch.nn.Module):
    """A frame's grey value is its row; steps of up to one are found at 80 %, longer ones whole."""

    def forward(self, image):
        moving, fixed = image.mean((2, 3)).T
        steps = moving - fixed
        steps = torch.where(steps.abs() <= 1, 0.8 * steps, steps)
        return torch.stack([steps, torch.zeros_like(steps)], 1)[:, :, None, None].expand(-1, -1, *image.shape[2:])


def test_a_span_makes_up_for_what_short_steps_miss():
    frames = torch.tensor([0.0, 1, 2, 3, 4, 4, 4, 4, 3.5, 3, 2.5])[:, None, None].expand(-1, 12, 10)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    steps = inputs[:, 0, 0, 0] - inputs[:, 1, 0, 0]
    short = PairwiseInferer(composition=True, progress=False)
    plain, spanned = (SpannedInferer(short, span)(inputs, FallsShort()).ddf[:, 0, 6, 5] for span in (1, 3))
    torch.testing.assert_close(plain, 0.8 * steps)
    torch.testing.assert_close(spanned[:2], steps[:2])
    assert (spanned - steps).abs().sum() < 0.5 * (plain - steps).abs().sum()
    result = SpannedInferer(short, 3)(inputs, FallsShort())
    assert result.inconsistency.shape == (10, 1, 12, 10), "that of neighbouring frames"


def test_pairs_that_are_not_consecutive_have_no_span():
    inputs = torch.rand(5, 2, 8, 8)
    torch.testing.assert_close(
        SpannedInferer(PairwiseInferer(progress=False), 3)(inputs, FallsShort()).ddf,
        PairwiseInferer(progress=False)(inputs, FallsShort()).ddf,
    )
    with pytest.raises(ValueError, match="at least 1"):
        SpannedInferer(PairwiseInferer(), 0)


class Ramp(torch.nn.Module):
    """Forward motion grows along the columns, backward there is none: the directions miss each other by a ramp."""

    def forward(self, image):
        forward = float(image[:, 0].mean() < image[:, 1].mean())
        ramp = forward * torch.arange(image.shape[3], dtype=torch.float32).expand(len(image), 1, *image.shape[2:])
        return torch.cat([ramp, torch.zeros_like(ramp)], 1)


def test_the_inconsistency_of_a_smaller_size_has_no_steps():
    result = SizedInferer(PairwiseInferer(composition=True, progress=False), 25)(pairs(), Ramp())
    steps = result.inconsistency[0, 0, 30].diff()[2:-2]
    torch.testing.assert_close(steps, torch.ones_like(steps), msg="25 columns become 100")


def nmsr(folder, steps=4):
    return multi_scale(
        scales=[0.5, 1.0], steps=steps, field_scales=[0.5, 1.0], loss=RegistrationLoss(radius=2),
        regularisation_weight=1.0,
        squarings=3, checkpoint_dir=folder,
    )  # fmt: skip


def test_what_was_killed_goes_on_through_the_inferers_around_it(tmp_path, monkeypatch):
    frames = torch.rand(5, 24, 24, generator=torch.Generator().manual_seed(0))
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    around = lambda inner: SizedInferer(SpannedInferer(inner, 2), 20)  # noqa: E731
    whole = around(nmsr(None))(inputs, torch.nn.Conv2d(2, 2, 1))
    network = torch.nn.Conv2d(2, 2, 1)
    killed = around(nmsr(tmp_path))
    fit = MultiScaleTestTimeTraining._fit_field
    done = []

    def dies(self, i, *rest):
        if len(done) == 3:  # in the second scale of the registration over two frames
            raise KeyboardInterrupt
        done.append(i)
        return fit(self, i, *rest)

    monkeypatch.setattr(MultiScaleTestTimeTraining, "_fit_field", dies)
    with pytest.raises(KeyboardInterrupt):
        killed(inputs, network)
    assert killed.checkpoints() == tmp_path and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(MultiScaleTestTimeTraining, "_fit_field", lambda *given: done.append(given[1]) or fit(*given))
    again = around(nmsr(tmp_path))
    result = again(inputs, network)
    assert done == [0, 1, 0, 1], "only the scale that was killed is done again"
    torch.testing.assert_close(result.ddf, whole.ddf, rtol=0, atol=0)
    again.forget()
    assert not list(tmp_path.iterdir())
    again.keep_checkpoints(tmp_path / "case")
    assert again.checkpoints() == tmp_path / "case" and around(nmsr(None)).checkpoints() is None


def test_a_span_has_the_mask_of_its_last_pair_and_a_name_of_its_own():
    frames = torch.rand(6, 8, 8)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    masks = torch.rand(5, 1, 8, 8) > 0.5
    for mask in (masks, masks[:1], None):
        inner = Records()
        SpannedInferer(inner, 3)(inputs, torch.nn.Identity(), mask, "x")
        (count, first, name), (runs, last, other) = inner.asked
        assert (count, runs, name, other) == (5, 3, "x", "x.span")
        assert first is mask
        assert last is None if mask is None or len(mask) == 1 else torch.equal(last, masks[2:])


class Keeps(Records):
    """Keeps the images too."""

    def __call__(self, inputs, network, mask=None, part=""):
        self.inputs = inputs
        return super().__call__(inputs, network, mask, part)


def test_a_larger_picture_keeps_its_pixels_where_they_are():
    """Pixel i of twice the size is centred on (i + 1/2)/2 − 1/2 of the given one; beyond the edge its value goes on."""
    inner, ramp = Keeps(), torch.arange(50.0).expand(2, 2, 20, 50).contiguous()
    SizedInferer(inner, 320, shortest=100)(ramp, torch.nn.Identity())
    wanted = ((torch.arange(100.0) + 0.5) / 2 - 0.5).clamp(0, 49)
    torch.testing.assert_close(inner.inputs, wanted.expand(2, 2, 40, 100))


def test_what_registers_has_the_mask_at_its_size():
    mask = torch.zeros(1, 1, 60, 100, dtype=torch.bool)
    mask[..., 10:50, 10:90] = True
    mask[..., 10:30, 10:50] = False
    inner = Records()
    SizedInferer(inner, 40)(torch.rand(3, 2, 60, 100), torch.nn.Identity(), mask, "x")
    ((count, small, name),) = inner.asked
    wanted = torch.ones(1, 1, 20, 40, dtype=torch.bool)
    wanted[..., :10, :20] = False
    assert (count, name) == (3, "x") and small.dtype == torch.bool and torch.equal(small, wanted)


def test_the_mean_of_both_directions_is_read_where_the_point_goes():
    """``(ddf(p) − back(p + ddf(p))) / 2`` of a backward motion that grows along the columns."""
    ddf = torch.zeros(1, 2, 6, 20)
    ddf[:, 1] = 2.0
    back = torch.zeros(1, 2, 6, 20)
    back[:, 0], back[:, 1] = -0.1 * torch.arange(20.0), -1.0
    found = make_consistent(ddf, back)
    torch.testing.assert_close(found[0, 0, :, :18], (0.05 * (torch.arange(18.0) + 2)).expand(6, 18))
    torch.testing.assert_close(found[0, 1], torch.full((6, 20), 1.5))


class Tells(nn.Module):
    """Moves by the brightness of the first pixel, and tells half of that as its deviation."""

    def __init__(self, device=None):
        super().__init__()
        self.weight, self.batches = nn.Parameter(torch.zeros(1)), []

    def forward(self, image):
        self.batches.append((len(image), self.training, torch.is_grad_enabled(), image.dtype))
        return image[:, :1, :1, :1].expand(-1, 2, *image.shape[2:]) + self.weight

    def forward_with_deviation(self, image):
        found = self(image)
        return found, found / 2


def numbered(count=5):
    """Pairs of which the moving image is of the value t and the fixed of t + 1."""
    frames = torch.arange(count + 1.0)[:, None, None].expand(-1, 4, 6)
    return torch.stack([frames[:-1], frames[1:]], 1)


def test_pairs_keep_their_order_over_batches():
    network = Tells().train()
    result = PairwiseInferer(2, progress=False)(numbered().double(), network)
    assert result.ddf[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4] and result.ddf.dtype == torch.float32
    assert result.deviation[:, 1, 2, 3].tolist() == [0, 0.5, 1, 1.5, 2] and result.deviation.shape == (5, 2, 4, 6)
    assert network.batches == [(n, False, False, torch.float32) for n in (2, 2, 1)]
    assert result.inconsistency is None and result.stages == ()
    four = Tells()
    PairwiseInferer(progress=False)(numbered(), four)
    assert [n for n, *_ in four.batches] == [4, 1]


def test_the_deviation_of_a_composed_field_is_that_of_its_first_direction():
    result = PairwiseInferer(composition=True, progress=False)(numbered(3), Tells())
    assert result.deviation[:, 0, 0, 0].tolist() == [0, 0.5, 1]
    assert result.ddf[:, 0, 0, 0].tolist() == [-0.5, -0.5, -0.5]  # (t − (t + 1)) / 2
    torch.testing.assert_close(result.inconsistency[:, 0, 0, 0], 2**0.5 * torch.tensor([1.0, 3.0, 5.0]))
    assert PairwiseInferer(progress=False)(numbered(3), Rows()).deviation is None


@pytest.mark.parametrize("part, name", [("", "motion"), (".span", "motion over a span")])
def test_a_bar_counts_the_batches(monkeypatch, part, name):
    shown = []

    def show(items, *said):
        results = list(items)
        shown.append(([len(ddf) for ddf, *_ in results], *said))
        return results

    monkeypatch.setattr("cardiac_motion.registration.pairwise.show_bar", show)
    PairwiseInferer(2)(numbered(), Tells(), part=part)
    assert shown == [([2, 2, 1], name, "batch", 3)]
    PairwiseInferer(2, progress=False, name="blood")(numbered(), Tells())
    assert len(shown) == 1


class Fields(Records):
    """Gives the fields that it is told, in order."""

    def __init__(self, *fields):
        super().__init__()
        self.fields = list(fields)

    def __call__(self, inputs, network, mask=None, part=""):
        super().__call__(inputs, network, mask, part)
        return RegistrationResult(self.fields.pop(0), inconsistency=torch.full((1,), float(len(self.fields))))


@pytest.mark.parametrize("steps, wanted", [([1, 3, 1], [0.9, 3.1, 0.9]), ([1, 1, 3], [1.0, 0.95, 3.1])])
def test_each_pair_takes_the_mean_of_the_runs_that_it_is_in(steps, wanted):
    """Steps of one are found at 0.8, longer ones whole; what a run of two pairs misses is shared between them."""
    frames = torch.cumsum(torch.tensor([0.0, *steps]), 0)[:, None, None].expand(-1, 8, 8)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    result = SpannedInferer(PairwiseInferer(progress=False), 2)(inputs, FallsShort())
    torch.testing.assert_close(result.ddf[:, 0, 4, 4], -torch.tensor(wanted))


def test_a_run_is_composed_from_its_last_pair_back():
    """A stretch and then a shift: the pixel goes by the shift first, and by the stretch of where it comes to."""
    rows = torch.arange(12.0)[:, None].expand(12, 10)
    stretch, shift = torch.stack([0.1 * rows, 0 * rows]), torch.stack([1.0 + 0 * rows, 0 * rows])
    frames = torch.rand(3, 12, 10)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    inner = Fields(torch.stack([stretch, shift]), torch.zeros(1, 2, 12, 10))
    result = SpannedInferer(inner, 2)(inputs, nn.Identity())
    composed = 1.0 + 0.1 * (rows + 1)
    torch.testing.assert_close(result.ddf[0, 0, :10], (stretch[0] - composed / 2)[:10])
    torch.testing.assert_close(result.ddf[1, 0, :10], (shift[0] - composed / 2)[:10])
    assert result.inconsistency.item() == 1.0, "that of the pairs"
    assert [count for count, *_ in inner.asked] == [2, 1]


def test_a_span_as_long_as_the_cine_and_one_longer():
    frames = torch.tensor([0.0, 1, 2, 3])[:, None, None].expand(-1, 8, 8)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    three, four = (SpannedInferer(PairwiseInferer(progress=False), n)(inputs, FallsShort()).ddf for n in (3, 4))
    torch.testing.assert_close(three[:, 0, 4, 4], -torch.ones(3))
    torch.testing.assert_close(four[:, 0, 4, 4], torch.full((3,), -0.8))
    default = SpannedInferer(PairwiseInferer(progress=False))
    assert default.frame_gap == 3 and torch.equal(default(inputs, FallsShort()).ddf, three)


def test_the_size_that_a_box_is_brought_to():
    mask = torch.zeros(1, 1, 60, 100, dtype=torch.bool)
    mask[..., 20:30, 40:60] = True
    for settings, size, fields in (
        ({}, (10, 20), 1), ({"margin": 5}, (20, 30), 1), ({"shortest": 40}, (20, 40), 0.5),
        ({"longest": 10}, (5, 10), 2), ({"longest": 20}, (10, 20), 1),
    ):  # fmt: skip
        network = Shift([1.0, 2.0], [0.0, 0.0])
        result = SizedInferer(PairwiseInferer(composition=True, progress=False), **settings)(pairs(), network, mask)
        assert set(network.sizes) == {size}
        assert result.ddf[0, :, 25, 50].tolist() == [0.5 * fields, 1.0 * fields]
        torch.testing.assert_close(result.inconsistency[0, 0, 25, 50], torch.tensor(5**0.5 * fields))
    network = Shift([0.0, 0.0], [0.0, 0.0])
    wide = torch.stack([torch.zeros(1, 40, 700), torch.ones(1, 40, 700)], 1)
    assert SizedInferer(PairwiseInferer(progress=False))(wide, network).deviation is None
    assert network.sizes == [(18, 320)]


def test_a_region_of_32_pixels_is_registered_by_itself_and_one_of_31_is_not():
    image = torch.rand(2, 2, 60, 100)
    for rows, columns, size in (
        ((10, 42), (20, 52), (32, 32)), ((10, 41), (20, 52), (60, 100)), ((-20, 200), (50, 300), (60, 50)),
    ):  # fmt: skip
        inner = Keeps()
        sized = SizedInferer(inner, 320).restrict((rows, columns))
        assert sized.region == (rows, columns) and sized.longest == 320
        sized(image, nn.Identity())
        assert tuple(inner.inputs.shape[2:]) == size
    again = SizedInferer(inner, 100, 50, 7).restrict(((0, 40), (0, 40)))
    assert (again.inferer, again.longest, again.shortest, again.margin) == (inner, 100, 50, 7)


@pytest.mark.parametrize(
    ("enlarge", "longest", "size"), [(0.5, 320, (40, 60)), (2.0, 320, (80, 120)), (3.0, 120, (80, 120))]
)
def test_a_region_is_enlarged_as_far_as_it_may(enlarge, longest, size):
    """A translation keeps its length in the picture's pixels."""
    seen = []

    class OnePixelDown(nn.Module):
        def forward(self, image):
            seen.append(tuple(image.shape[2:]))
            return torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(image), 2, *image.shape[2:])

    image = torch.rand(2, 2, 80, 100)
    region = ((20, 60), (30, 90))
    inferer = SizedInferer(PairwiseInferer(progress=False), longest).restrict(region, enlarge)
    ddf = inferer(image, OnePixelDown()).ddf
    assert set(seen) == {size} and ddf.shape == (2, 2, 80, 100)
    torch.testing.assert_close(ddf[:, 0], torch.full((2, 80, 100), 40 / size[0]))
