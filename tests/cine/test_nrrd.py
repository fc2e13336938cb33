from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import T, loop, maximal_difference, nrrd_bytes


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_a_time_axis(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "c.nrrd").write_bytes(nrrd_bytes(loop(), encoding, units='"mm" "mm" "s"'))
    cine = read_cine(tmp_path / "c.nrrd")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.02)


def test_a_sequence_as_slicer_writes_it(tmp_path: Path) -> None:
    """The list comes first, then three spatial axes, of which the last has one slice."""
    values = loop().transpose(0, 2, 1)[..., None]
    header: dict[str, Any] = {
        "kinds": ["list", "domain", "domain", "domain"],
        "space": "left-posterior-superior",
        "space directions": [[np.nan] * 3, [0.3, 0, 0], [0, 0.4, 0], [0, 0, 1]],
        "space origin": [3.0, 4.0, 5.0],
        "axis 0 index type": "numeric",
        "axis 0 index unit": "ms",
        "axis 0 index values": "0 20 45 60 80 100",
    }
    nrrd.write(str(tmp_path / "c.seq.nrrd"), values, header)
    cine = read_cine(tmp_path / "c.seq.nrrd")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    np.testing.assert_allclose(cine.meta["frame_times"], [0, 0.02, 0.045, 0.06, 0.08, 0.1])


def test_colour_gives_its_first_channel(tmp_path: Path) -> None:
    rgb = np.stack([loop(), loop() // 2, loop() // 3], -1)
    content = nrrd_bytes(rgb, kinds="RGB-color domain domain time", spacings="nan 0.3 0.4 0.02")
    (tmp_path / "c.nrrd").write_bytes(content)
    assert maximal_difference(read_cine(tmp_path / "c.nrrd"), loop() / 255.0) < 1e-6


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"kinds": "domain domain domain", "spacings": "0.5 0.5 3"}, "3D volume"),
        ({"sizes": "64 48 60"}, "truncated"),
        ({"data file": "gone.raw"}, "its data file gone.raw is missing"),
        ({"data file": "LIST"}, "several files"),
        ({"encoding": "zip"}, "the NRRD file cannot be read"),
        ({"type": "block"}, "the NRRD file cannot be read"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, fields: dict[str, str], match: str) -> None:
    (tmp_path / "c.nrrd").write_bytes(nrrd_bytes(loop(), **fields))
    with pytest.raises(InputError, match=match):
        read_cine(tmp_path / "c.nrrd")
