from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from common.cine.read import read_cine
from tests.cine.made import (
    loop,
    maximal_difference,
)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", np.uint8), ("tif", np.uint8), ("bmp", np.uint8), ("png", np.uint16)]
)
def test_folder_in_natural_order(tmp_path: Path, suffix: str, kind: type) -> None:
    values = loop(12)
    for t, frame in enumerate(values):
        imageio.imwrite(tmp_path / f"frame{t}.{suffix}", frame.astype(kind) * (np.iinfo(kind).max // 255))
    (tmp_path / "notes.txt").write_text("ignored")
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, values / 255.0) < 1e-6
    assert cine.meta["frame_times"] is None and cine.meta["spacing"] is None
