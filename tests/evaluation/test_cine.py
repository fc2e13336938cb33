"""A cine's way: what is measured where, and what is printed of it."""

import json

import pytest

from tests.evaluation.made import evaluator


def test_a_still_field_leaves_the_pairs_as_they_are(cines):
    engine = evaluator(cines, "a")
    engine.run()
    metrics = engine.state.output.scores.metrics
    assert metrics["mse"] == pytest.approx(metrics["mse_unregistered"]) and metrics["folding_fraction"] == 0
    assert engine.state.output.contour is None


def test_the_window_that_measures_is_its_own(cines):
    found = []
    for radius in (3, 10):
        engine = evaluator(cines, "a", radius=radius)
        engine.run()
        found.append(engine.state.output.scores.metrics["lncc2"])
    assert found[0] != found[1]


def test_a_contour_that_stands_still_has_no_strain(cines):
    (cines / "contour.json").write_text(json.dumps([[30, 15], [10, 28], [30, 40]]), encoding="utf-8")
    engine = evaluator(cines, "a", contour=str(cines / "contour.json"), ed=0, es=2)
    engine.run()
    assert engine.state.output.scores.metrics["gls"] == pytest.approx(0, abs=1e-6)
    assert (cines / "out/a/strain.csv").is_file()


def test_what_is_printed_names_the_stages(cines):
    engine = evaluator(cines, "a")
    engine.run()
    lines = engine.state.output.lines()
    assert "before" in lines and "after" in lines and lines.startswith("a")
