import numpy as np
import pytest

from common.core.errors import InputError
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
    slit = ellipse(80, 4)
    rough = ellipse() + 6 * np.stack([np.zeros(61), (-1.0) ** (np.arange(61) // 5)], -1)
    assert all(float(prior.distances(shape)) > 3.2 for shape in (vessel, slit, rough))
    stacked = np.stack([[ellipse(), vessel]])
    assert prior.distances(stacked).shape == (1, 2)


def test_distance_is_the_root_mean_square_of_what_it_was_fitted_to(tmp_path):
    """A contour one standard deviation along one component, and the mean itself."""
    random = np.random.default_rng(0)
    shapes = np.stack([ellipse(80, random.uniform(18, 30)) for _ in range(60)])
    prior = fitted_shape(shapes, 2)
    write_shape_prior(prior, tmp_path / "prior.json")
    again = own_shape_prior(tmp_path / "prior.json")
    assert float(again.distances(prior.mean)) < 0.05
    assert float(again.distances(prior.mean + prior.components[0])) == pytest.approx(1 / np.sqrt(42), rel=0.1)
    assert along_axis(shapes).shape == (60, 21, 2)


def test_what_cannot_be_a_prior(tmp_path):
    with pytest.raises(InputError, match="more than 8"):
        fitted_shape(np.zeros((3, 21, 2)))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="no readable prior of shapes"):
        own_shape_prior(tmp_path / "x.json")
