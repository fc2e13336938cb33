from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest

from common.cine.read import read_cine
from common.core.errors import InputError
from tests.cine.made import (
    loop,
    maximal_difference,
)


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_metaimage_as_itk_writes_it(tmp_path: Path, suffix: str, compression: bool, kind: type) -> None:
    values = loop().astype(kind) / kind(1 if kind is not np.float32 else 255)
    image = itk.image_from_array(values.astype(kind))
    image.SetSpacing([0.3, 0.4, 0.02])
    itk.imwrite(image, str(tmp_path / f"c{suffix}"), compression=compression)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    assert cine.meta["frame_times"][1] == pytest.approx(0.02)


def test_metaimage_volume_is_refused(tmp_path: Path) -> None:
    image = itk.image_from_array(loop())
    image.SetSpacing([0.7, 0.7, 1.0])
    image.SetOrigin([0.0, 0.0, -35.0])
    itk.imwrite(image, str(tmp_path / "c.mha"))
    with pytest.raises(InputError, match="3D volume, not a 2D cine: its slices have a position"):
        read_cine(tmp_path / "c.mha")
