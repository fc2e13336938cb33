import math

import pytest
import torch

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.lv_blood_flow.measures import brightness, measure_flow, units, unsteadiness
from tests.lv_blood_flow.flows import SIZE, TURN, turning


def test_a_rigid_turn_in_physical_units():
    case, ddf = turning()
    flow = measure_flow(case, ddf)
    assert len(flow.rows) == 3 and not flow.notes
    assert set(flow.rows[0]) == set(units(flow.velocity))
    rate = 2 * TURN / 0.01  # 1/s
    known = ~flow.vorticity.isnan()
    assert known.equal(flow.velocity.mask) and (flow.vorticity[known] - rate).abs().max() < 0.05 * rate
    row = flow.rows[1]
    assert row["time"] == pytest.approx(0.015) and row["vortices"] == 1 and row["cw_area"] is None
    assert (row["ccw_row"], row["ccw_column"]) == pytest.approx((35.5, 35.5), abs=0.05)
    assert row["ccw_circulation"] == pytest.approx(rate * row["ccw_area"] * 1e-2, rel=0.02)
    assert row["ccw_depth"] == pytest.approx(0.5, abs=0.02) and row["ccw_sphericity"] == pytest.approx(1, abs=0.05)
    energy = 0.5 * 1060 * (rate / 2) ** 2 * math.pi / 2 * 0.012**4  # ½ ρ ∫ (ω r)² dA
    assert row["kinetic_energy"] == pytest.approx(energy, rel=0.03)
    assert row["energy_loss"] < 1e-3 and row["divergence"] < 0.02 * rate
    scores = flow.scores()
    assert scores.metrics["ccw_area"] == pytest.approx(row["ccw_area"], rel=0.01) and "cw_area" not in scores.metrics


def test_without_spacing_it_is_pixels_a_frame_and_no_energy():
    case, ddf = turning(spacing=None)
    flow = measure_flow(case, ddf)
    assert "kinetic_energy" not in flow.rows[0] and flow.rows[0]["ccw_intensity"] == pytest.approx(2 * TURN, rel=0.02)
    assert units(flow.velocity)["ccw_circulation"] == "px²/frame"
    assert any("pixels per frame; unknown: spacing" in note for note in flow.notes)
    case, ddf = turning(times=False)
    assert any("unknown: frame times" in note for note in measure_flow(case, ddf).notes)


def test_what_the_field_says_against_itself():
    case, ddf = turning()
    notes = measure_flow(case, 8 * ddf).notes
    assert any("frame rate of 100 Hz is too low" in note and "pixels between frames" in note for note in notes)
    sign = torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)
    assert any("is not one continuous flow" in note for note in measure_flow(case, sign * ddf).notes)


def test_frames_that_do_not_match_are_said():
    case, ddf = turning()
    assert not measure_flow(case, ddf, similarity=0.9).notes
    notes = measure_flow(case, ddf, similarity=0.5).notes
    assert len(notes) == 1 and "match poorly (LNCC² 0.50" in notes[0] and "100 Hz is too low" in notes[0]


def test_tissue_without_contrast_is_said():
    case, ddf = turning(bright=0.1)
    assert any("No contrast agent is visible" in note for note in measure_flow(case, ddf).notes)
    inside, around = brightness(case.cine.as_tensor()[0], case.blood_mask)
    assert (inside, around) == pytest.approx((0.1, 0.4))


def test_unsteadiness_of_steady_and_reversing_fields():
    _, ddf = turning()
    mask = torch.ones(3, SIZE, SIZE, dtype=torch.bool)
    assert unsteadiness(ddf, mask) == 0 == unsteadiness(ddf[:1], mask[:1])
    assert unsteadiness(ddf * torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1), mask) == pytest.approx(2)


def test_a_case_without_a_pool():
    case, ddf = turning()
    with pytest.raises(ValueError, match="needs a blood pool"):
        measure_flow(CineCase(case.entry, case.image, None, case.cine), ddf)
