"""The prior of ventricles: what it was fitted to comes back, and hearts drawn from it are hearts."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.heart import prior
from cardiac_motion.simulation.heart.anatomy import apical_of_prior, view
from cardiac_motion.simulation.heart.contraction import contour_length
from cardiac_motion.simulation.sequence import Settings, draw


def cohort(count=60, seed=0):
    """Half ellipses in (row, column) that shorten and narrow by two independent numbers, anywhere, turned anyhow."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(-1.9, 1.9, 21)
    pairs, numbers = [], []
    for _ in range(count):
        along, across = rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.9)
        start = np.stack([-60 * np.cos(angle), 25 * np.sin(angle)], 1)
        start[:, 0] -= start[0, 0]
        end = start * [along, across]
        turn, size, shift = rng.normal(0, 0.2), rng.uniform(0.5, 2), rng.normal(0, 30, 2)
        matrix = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        pairs.append(np.stack([start @ matrix.T + shift, end @ matrix.T + shift]))
        numbers.append((along, across))
    return np.stack(pairs), np.array(numbers)


def test_two_numbers_are_two_components():
    pairs, _ = cohort()
    found = prior.fit_prior(pairs, 4)
    sizes = np.linalg.norm(found.components.reshape(4, -1), axis=1)
    assert sizes[1] > 0.01 and sizes[2] < 1e-6 * sizes[0]
    np.testing.assert_allclose(found.mean[0, [0, 10, 20], 0], [0, -1, 0], atol=1e-9)
    assert found.mean[0, 0, 1] < 0 < found.mean[0, 20, 1]


def test_neither_place_nor_turn_nor_size_is_part_of_it():
    pairs, _ = cohort()
    laid = prior.align(pairs)
    np.testing.assert_allclose(laid[:, 0], np.broadcast_to(laid[0, 0], laid[:, 0].shape), atol=1e-9)


def test_draws_have_the_spread_of_what_it_was_fitted_to():
    pairs, _ = cohort(200)
    found, rng = prior.fit_prior(pairs, 2), np.random.default_rng(1)
    drawn = [found.draw(rng) for _ in range(300)]
    gls = np.array([contour_length(end) / contour_length(start) - 1 for start, end in drawn])
    true = prior.shortening(pairs)
    assert abs(gls.mean() - true.mean()) < 0.01 and abs(gls.std() / true.std() - 1) < 0.2


def test_the_stored_one_is_of_hearts():
    stored = prior.load_default_prior()
    assert stored.mean.shape == (2, 21, 2) and stored.components.shape == (10, 2, 21, 2)
    rng = np.random.default_rng(0)
    gls = [contour_length(end) / contour_length(start) - 1 for start, end in (stored.draw(rng) for _ in range(300))]
    low, middle, high = np.percentile(gls, [5, 50, 95])
    assert -0.30 < low < -0.22 and -0.20 < middle < -0.16 and -0.14 < high < -0.05
    assert "CC BY-NC-SA 4.0" in prior.FILE.read_text(encoding="utf-8")


def test_walls_keep_their_area():
    for seed in range(8):
        (inner, outer), (inner_end, outer_end) = prior.draw_ventricle(np.random.default_rng(seed))
        ratio = prior.wall_area(inner_end, outer_end) / prior.wall_area(inner, outer)
        assert 0.999 < ratio < 1.101
        assert abs(outer[:, 0].min()) < 1e-9 and 55 < np.ptp(inner[:, 0]) < 120


def test_another_heart_moves_as_the_prior_does():
    mesh = view("apical_4ch", 1).mesh
    end = prior.draw_end_systole(mesh, np.random.default_rng(2))
    inner, outer = end[:: mesh.layers], end[mesh.layers - 1 :: mesh.layers]
    assert prior.wall_area(inner, outer) == pytest.approx(prior.wall_area(mesh.inner, mesh.outer), rel=1e-3)
    assert -0.35 < contour_length(inner) / contour_length(mesh.inner) - 1 < 0.0
    still = prior.Prior(np.stack([prior.load_default_prior().mean[0]] * 2), np.zeros((1, 2, 21, 2)))
    np.testing.assert_allclose(prior.draw_end_systole(mesh, np.random.default_rng(0), still), mesh.nodes, atol=1e-3)


@pytest.mark.parametrize("name", ["apical_4ch", "apical_2ch", "apical_long_axis"])
def test_views_of_drawn_hearts(name):
    made = 0
    for seed in range(3):
        template = apical_of_prior(name, seed)
        assert template.view == name and template.end_systole is not None
        simulation, _ = draw(template, seed, Settings(scatterers=5000, shape=(48, 48), artefact=0.0))
        assert simulation.frames([5]).std() > 0.05
        made += 1
    assert made == 3
    with pytest.raises(InputError, match="apical view"):
        apical_of_prior("subcostal_4ch")


def test_a_source_takes_its_share():
    plain, drawn = TemplateSource(), TemplateSource(prior=1.0)
    assert plain(0, (1,)).end_systole is None and drawn(0, (1,)).end_systole is not None
    mixed = TemplateSource(prior=0.5)
    kinds = [mixed(n, (1,)).end_systole is None for n in range(20)]
    assert 3 < sum(kinds) < 17


def test_it_is_stored_and_read(tmp_path):
    made = prior.fit_prior(cohort()[0], 2)
    prior.write_prior(made, tmp_path / "prior.json")
    again = prior.read_prior(tmp_path / "prior.json")
    np.testing.assert_allclose(again.components, made.components, atol=1e-4)
    for path, match in ((tmp_path / "none.json", "none.json"), (tmp_path / "prior.json", None)):
        if match:
            with pytest.raises(InputError, match=match):
                prior.read_prior(path)
    with pytest.raises(InputError, match="contours"):
        prior.fit_prior(cohort(3)[0], 4)
    with pytest.raises(InputError, match="contours"):
        prior.read_contours(tmp_path / "none.npz")
