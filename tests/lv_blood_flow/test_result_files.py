"""The folder of a turning pool, read back: units, axes, what is outside, and what ParaView opens."""

import base64
import csv
import math
import xml.etree.ElementTree as ElementTree

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.haemodynamics.stream import pathlines
from cardiac_motion.lv_blood_flow.measures import measure_flow, units
from cardiac_motion.lv_blood_flow.result_files import write_fields, write_flow, write_vtk
from cardiac_motion.registration.result import RegistrationResult
from tests.lv_blood_flow.flows import SIZE, TURN, turning

SPACING = (0.5, 0.4)  # mm, (row, column)


@pytest.fixture(scope="module")
def flow():
    case, ddf = turning(spacing=SPACING)
    return case, ddf, measure_flow(case, ddf)


def test_the_tables_say_each_column_with_its_unit(flow, tmp_path):
    case, ddf, found = flow
    write_flow(tmp_path, case, RegistrationResult(ddf), found, save_fields=False, save_figures=False)
    assert {path.name for path in tmp_path.iterdir()} == {"flow.csv", "flow_units.csv"}
    with open(tmp_path / "flow.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(tmp_path / "flow_units.csv", encoding="utf-8") as file:
        unit = {row["column"]: row["unit"] for row in csv.DictReader(file)}
    assert set(rows[0]) == set(unit) == set(units(found.velocity))
    assert [float(row["time"]) for row in rows] == pytest.approx([0.005, 0.015, 0.025]) and unit["time"] == "s"
    assert unit["mean_speed"] == "m/s" and unit["ccw_circulation"] == "cm²/s" and rows[0]["cw_area"] == ""


def test_fields_as_nifti(flow, tmp_path):
    case, _, found = flow
    write_fields(tmp_path, case, found)
    velocity = load_ddf(tmp_path / "velocity.nii.gz")
    mask = found.velocity.mask
    torch.testing.assert_close(velocity, found.velocity.values * mask[:, None])
    row, column = 36, 46  # right of the middle, where a counter-clockwise turn goes up
    along = math.sin(TURN) * 10.5 * SPACING[0] / 10  # mm a pixel, over 10 ms: m/s
    assert float(velocity[0, 0, row, column]) == pytest.approx(-along, rel=0.05)
    pool = nibabel.load(tmp_path / "pool.nii.gz")
    assert pool.shape == (SIZE, SIZE, 4) and pool.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(pool.dataobj).transpose(2, 1, 0), case.blood_mask.numpy())
    vorticity = nibabel.load(tmp_path / "vorticity.nii.gz")
    assert vorticity.header.get_zooms() == pytest.approx((0.4, 0.5, 0.01))
    values = np.asarray(vorticity.dataobj).transpose(2, 1, 0)
    known = ~found.vorticity.isnan().numpy()
    np.testing.assert_allclose(values[known], found.vorticity.numpy()[known], rtol=1e-6)
    assert not values[~known].any(), "outside it is 0"


def arrays(path):
    """Of a VTK file: numbers by name."""
    kinds = {"Float32": "<f4", "UInt8": "u1", "Int64": "<i8"}
    found = {}
    for array in ElementTree.parse(path).getroot().iter("DataArray"):
        raw = base64.b64decode(array.text)
        assert int.from_bytes(raw[:4], "little") == len(raw) - 4
        found[array.get("Name")] = np.frombuffer(raw[4:], kinds[array.get("type")])
    return found


def test_what_paraview_opens(flow, tmp_path):
    case, ddf, found = flow
    ways = pathlines(ddf, case.blood_mask)
    write_vtk(tmp_path / "vtk", found, ways)
    series = list(ElementTree.parse(tmp_path / "vtk" / "flow.pvd").getroot().iter("DataSet"))
    assert [float(part.get("timestep")) for part in series] == pytest.approx([0.005, 0.015, 0.025])
    image = arrays(tmp_path / "vtk" / series[1].get("file"))
    assert int(image["pool"].sum()) == int(found.velocity.mask[1].sum())
    inside = image["vorticity"] != 0
    assert image["vorticity"][inside].mean() == pytest.approx(float(found.vorticity[1].nanmean()), rel=1e-4)
    assert np.abs(image["divergence"]).max() < 0.1 * image["vorticity"].max()
    there = (~ways[..., 0].isnan()).sum(0)
    lines = arrays(tmp_path / "vtk" / "pathlines.vtp")
    assert len(lines["frame"]) == int(there[there > 1].sum()) and set(lines["frame"]) == {0, 1, 2, 3}
    assert set(arrays(tmp_path / "vtk" / "streamlines.vtp")["pair"]) == {0, 1, 2}
