"""Read back by a parser that knows only what VTK's file formats say."""

import base64
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cardiac_motion.core.vtk import write_pvd, write_vti, write_vtp

KINDS = {"Float32": "<f4", "UInt8": "<u1", "Int64": "<i8"}


def values_of(array):
    raw = base64.b64decode(array.text)
    length = int(np.frombuffer(raw[:4], "<u4")[0])
    assert len(raw) == 4 + length
    found = np.frombuffer(raw[4:], KINDS[array.get("type")])
    count = int(array.get("NumberOfComponents"))
    return found.reshape(-1, count) if count > 1 else found


def read(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == "VTKFile" and root.get("byte_order") == "LittleEndian" and root.get("header_type") == "UInt32"
    return root, {a.get("Name"): values_of(a) for a in root.iter("DataArray")}


def test_an_image_is_upright_in_paraview(tmp_path):
    values = np.arange(6, dtype=float).reshape(2, 3)
    vectors = np.stack([np.ones((2, 3)), 2 * np.ones((2, 3))])  # down 1, right 2
    write_vti(tmp_path / "a.vti", {"pressure <&>": values, "velocity": vectors, "pool": values > 2}, (0.5, 0.25))
    root, found = read(tmp_path / "a.vti")
    image = root.find("ImageData")
    assert image.get("WholeExtent") == "0 2 0 1 0 0" == image.find("Piece").get("Extent")
    assert [float(x) for x in image.get("Spacing").split()] == [0.25, 0.5, 1]
    assert [float(x) for x in image.get("Origin").split()] == [0, -0.5, 0]
    assert found["pressure <&>"].tolist() == [3, 4, 5, 0, 1, 2]  # x fastest, from the lowest row
    assert found["velocity"].tolist() == [[2, -1, 0]] * 6
    assert found["pool"].tolist() == [1, 1, 1, 0, 0, 0]


def test_lines_and_their_values(tmp_path):
    lines = [np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([[4.0, 4.0], [4.0, 5.0], [4.0, 6.0]])]
    write_vtp(tmp_path / "a.vtp", lines, (0.5, 0.25), {"time": [np.array([0, 1]), np.array([5, 6, 7])]})
    root, found = read(tmp_path / "a.vtp")
    piece = root.find("PolyData/Piece")
    assert (piece.get("NumberOfPoints"), piece.get("NumberOfLines")) == ("5", "2")
    assert found["Points"].tolist()[:3] == [[0, 0, 0], [0.5, -0.5, 0], [1, -2, 0]]
    assert found["offsets"].tolist() == [2, 5] and found["connectivity"].tolist() == [0, 1, 2, 3, 4]
    assert found["time"].tolist() == [0, 1, 5, 6, 7]


def test_no_lines_are_a_file_too(tmp_path):
    write_vtp(tmp_path / "a.vtp", [], (1, 1))
    assert len(read(tmp_path / "a.vtp")[1]["Points"]) == 0


def test_a_series(tmp_path):
    write_pvd(tmp_path / "a.pvd", {"f0.vti": 0.0, "f1.vti": 0.02})
    found = list(ElementTree.parse(tmp_path / "a.pvd").getroot().iter("DataSet"))
    assert [(d.get("file"), float(d.get("timestep"))) for d in found] == [("f0.vti", 0), ("f1.vti", 0.02)]


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((4, 2, 3),)])
def test_sizes_that_differ(tmp_path, shapes):
    with pytest.raises(ValueError, match="of one size"):
        write_vti(tmp_path / "a.vti", {str(k): np.zeros(s) for k, s in enumerate(shapes)}, (1, 1))
    assert not (tmp_path / "a.vti").exists()
