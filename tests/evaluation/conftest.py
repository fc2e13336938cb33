"""Two cines in a folder."""

import pytest

from cardiac_motion.cine.write import write_cine
from tests.conftest import moving_cine


@pytest.fixture
def cines(tmp_path):
    frames, _ = moving_cine(3, (48, 56))
    for name in ("a", "b"):
        write_cine(tmp_path / f"{name}.nii.gz", frames[None])
    return tmp_path
