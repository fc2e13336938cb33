import numpy as np
import pytest

from common.core.errors import InputError
from common.strain_pipeline.checks import LIMITS
from common.ventricle.shape import along_axis, fitted_shape, own_shape_prior, write_shape_prior


def ellipse(length=80.0, width=24.0, points=61):
    angle = np.linspace(0, np.pi, points)
    return np.stack([length - length * np.sin(angle), 60 - width * np.cos(angle)], -1)


def moved(contour, degrees=0.0, factor=1.0, shift=(0.0, 0.0)):
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return factor * contour @ matrix.T + shift


def test_place_size_turn_and_mirror_do_not_count():
    prior, contour = own_shape_prior(), ellipse()
    wanted = float(prior.distances(contour))
    assert wanted < 2
    for other in (moved(contour, 40, 2.5, (7, -3)), contour * [1, -1], contour[::-1]):
        assert float(prior.distances(other)) == pytest.approx(wanted, rel=1e-3)


def test_what_is_no_ventricle_is_far():
    prior = own_shape_prior()
    circle = np.linspace(0.2, 2 * np.pi - 0.2, 61)
    vessel = np.stack([50 - 20 * np.cos(circle), 50 - 20 * np.sin(circle)], -1)
    square = np.array([[80.0, 0], [40, 0], [0, 0], [0, 40], [0, 80], [40, 80], [80, 80]])
    rough = ellipse() + 6 * np.stack([np.zeros(61), (-1.0) ** (np.arange(61) // 5)], -1)
    assert all(float(prior.distances(shape)) > LIMITS["shape of the wall"][1] for shape in (vessel, square, rough))
    stacked = np.stack([[ellipse(), vessel]])
    assert prior.distances(stacked).shape == (1, 2)


def test_distance_is_the_root_mean_square_of_what_it_was_fitted_to(tmp_path):
    """Over the contours that a prior is of, the mean square is one, as that of a standard normal coordinate is."""
    random = np.random.default_rng(0)
    shapes = np.stack([ellipse(80, random.uniform(18, 30)) for _ in range(60)])
    shapes[:, 1:-1] += random.normal(0, 0.4, (60, 59, 2))
    prior = fitted_shape(shapes, 2)
    write_shape_prior(prior, tmp_path / "prior.json")
    again = own_shape_prior(tmp_path / "prior.json")
    assert np.sqrt((prior.distances(shapes) ** 2).mean()) == pytest.approx(1, rel=0.02)
    assert again.distances(shapes) == pytest.approx(prior.distances(shapes), rel=0.02)
    assert along_axis(shapes).shape == (60, 21, 2)


def test_what_cannot_be_a_prior(tmp_path):
    with pytest.raises(InputError, match="more than 8"):
        fitted_shape(np.zeros((3, 21, 2)))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="no readable prior of shapes"):
        own_shape_prior(tmp_path / "x.json")
