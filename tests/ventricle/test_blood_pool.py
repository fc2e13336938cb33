import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.blood_pool import check_pool, long_axis

SECTOR = torch.zeros(40, 50, dtype=torch.bool)
SECTOR[:, 10:] = True
POOL = torch.zeros(3, 40, 50, dtype=torch.bool)
POOL[:, 10:30, 20:35] = True


def test_a_pool_that_is_one():
    check_pool(POOL, (40, 50), 3, SECTOR, "pool")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda pool: pool[:2], "in 2 frames, the cine 50 × 40 in 3"),
        (lambda pool: pool[:, :30], "50 × 30 pixels in 3 frames"),
        (lambda pool: pool * torch.tensor([1, 0, 1]).view(3, 1, 1), "no blood pool in frame 1"),
        (lambda pool: pool.roll(-15, 2), "33 % of the blood pool lies outside the sector in frame 0"),
    ],
)
def test_a_pool_that_is_none(spoil, words):
    with pytest.raises(InputError, match=words):
        check_pool(spoil(POOL), (40, 50), 3, SECTOR, "pool")


def test_the_axis_of_a_slanted_pool():
    row, column = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    along, across = (row - 50) * 0.8 + (column - 50) * 0.6, (row - 50) * 0.6 - (column - 50) * 0.8
    axis = long_axis((along / 40) ** 2 + (across / 15) ** 2 < 1, (1.0, 1.0))
    assert axis.length == pytest.approx(80, abs=1.5)
    assert axis.apex == pytest.approx([50 - 32, 50 - 24], abs=1.5)
    assert axis.axial_distance(torch.tensor([[50.0, 50.0]]).numpy())[0] == pytest.approx(0.5, abs=0.01)


def test_nothing_has_no_axis():
    with pytest.raises(InputError, match="empty"):
        long_axis(torch.zeros(5, 5), (1, 1))
