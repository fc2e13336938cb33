"""Pairs of images: errors of known fields, missing files, images of either depth."""

import numpy as np
import pytest
import torch
from PIL import Image

from cardiac_motion.core.errors import InputError
from cardiac_motion.prove import planar
from cardiac_motion.prove.measurement import load_methods
from cardiac_motion.prove.sources import VORTICES
from cardiac_motion.registration.result import RegistrationResult
from tests.bundles.running import ROOT
from tests.prove.test_flow_files import write_flow


@pytest.fixture
def data(tmp_path):
    """The first pair: smooth texture moved by 3 rows and −2 columns."""
    noise = torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0))
    first = torch.nn.functional.interpolate(noise, scale_factor=3, mode="bicubic")[0, 0].clamp(0, 1)
    second = first.roll((3, -2), (0, 1))
    pair = planar.list_pairs()[0]
    for file, image in ((pair.first, first), (pair.second, second)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.numpy() * 255).round().astype(np.uint8)).save(tmp_path / file)
    write_flow(tmp_path / pair.flow, np.broadcast_to([-2.0, 3.0], (120, 144, 2)))
    return tmp_path


def test_methods_are_measured_and_missing_pairs_are_named(data):
    wanted = [m for m in planar.METHODS if m.title in ("identity", "Farnebäck")]
    rows = planar.measure_pairs(data, *load_methods(wanted, ROOT / "bundles"))
    first = {row.method: row for row in rows if row.case == planar.list_pairs()[0].case}
    assert first["identity"].value == pytest.approx(13**0.5) and first["identity"].measure == planar.RMS
    assert first["Farnebäck"].value < 0.5 and first["Farnebäck"].seconds > 0
    others = [row for row in rows if row.case != planar.list_pairs()[0].case]
    assert len(others) == len({pair.case for pair in planar.list_pairs() if pair.data != "FlyingChairs"})
    assert all(row.value is None and row.note.startswith("missing: ") for row in others)


def test_a_method_that_cannot_be_loaded_is_a_row_with_its_reason(data):
    rows = planar.measure_pairs(data, {}, {"a method": "No module named 'a'"})
    assert (rows[0].method, rows[0].value, rows[0].note) == ("a method", None, "No module named 'a'")


def test_the_border_and_unknown_places_do_not_count():
    truth, known = torch.zeros(1, 2, 30, 30), torch.ones(30, 30).bool()
    wrong = truth.clone()
    wrong[..., :8, :], wrong[:, 0, 15, 15] = 50.0, 14.0
    assert planar.flow_error(wrong, truth, known, planar.RMS) == pytest.approx(1.0)
    assert planar.flow_error(wrong, truth, known, planar.MEAN) == pytest.approx(14 / 196)
    known[15, 15] = False
    assert planar.flow_error(wrong, truth, known, planar.RMS) == 0


def test_grey_values_are_scaled_by_the_type(tmp_path):
    Image.fromarray(np.full((9, 9), 51, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((9, 9), 13107, np.uint16)).save(tmp_path / "b.png")
    assert [float(planar.read_grey(tmp_path / f"{n}.png").mean()) for n in "ab"] == pytest.approx([0.2, 0.2])
    with pytest.raises(InputError, match=r"c\.png: cannot be read as an image"):
        planar.read_grey(tmp_path / "c.png")


class Scaled:
    """Knows the flow of the first pair, and that of the second but for a share."""

    def __init__(self, share):
        self.share = share

    def run(self, moving, fixed):
        ddf = torch.ones(1, 2, *fixed.shape)
        return RegistrationResult(ddf * (3 if float(moving.mean()) < 0.5 else 5 * self.share), processor_seconds=1.0)


def test_displacements_of_two_steps_are_proportional(tmp_path):
    folder = tmp_path / VORTICES.folder
    folder.mkdir(parents=True)
    for file, grey in zip(VORTICES.files, (0, 40, 0, 200), strict=True):
        Image.fromarray(np.full((40, 40), grey, np.uint8)).save(folder / file)
    ready = {"identity": Scaled(1), "exact": Scaled(1), "a tenth short": Scaled(0.9)}
    rows = planar.measure_vortices(tmp_path, ready, {"other": "No module named 'o'"})
    assert [(row.method, row.note) for row in rows][-1] == ("other", "No module named 'o'")
    assert [row.value for row in rows[:2]] == pytest.approx([0, 100 / 9], abs=1e-4)
    assert planar.measure_vortices(tmp_path / "none", ready, {})[0].note.startswith("missing: ")
