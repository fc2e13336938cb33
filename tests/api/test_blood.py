"""Blood flow of a cine of known flow, through the bundle's own configuration."""

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.api.blood import blood_flow
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.conftest import moving_cine


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """Speckle that turns as a whole, and the disc of it that counts as blood."""
    folder = tmp_path_factory.mktemp("blood")
    frames, angle = moving_cine(4, (72, 72))
    write_cine(folder / "cine.nii.gz", frames[None])
    rows, columns = np.mgrid[:72, :72] - 35.5
    pool = np.repeat((np.hypot(rows, columns) < 22)[..., None], 4, axis=2).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(pool.transpose(1, 0, 2), np.eye(4)), folder / "pool.nii.gz")
    return folder, angle


def test_a_turning_disc_has_the_vorticity_of_its_rotation(turning, mask_option):
    folder, angle = turning
    flow = blood_flow(folder / "cine.nii.gz", **{mask_option: str(folder / "pool.nii.gz")})
    assert len(flow.rows) == 3
    per_frame = flow.vorticity.abs().nanmedian() / flow.velocity.per_second
    assert float(per_frame) == pytest.approx(2 * angle, rel=0.15), "twice the angle, and of one sign"
    assert torch.isfinite(flow.velocity.values).all() and isinstance(flow.notes, list)


@pytest.fixture
def mask_option():
    """The option that names the label map of the blood, whatever it is called."""
    import json

    from tests.bundles.running import ROOT

    config = json.loads((ROOT / "bundles/nmsr_echo/configs/inference.json").read_text(encoding="utf-8"))
    return config["dataset"].get("pool", config["dataset"].get("blood_mask")).removeprefix("@")


def test_without_a_pool_it_says_what_to_give(turning):
    with pytest.raises(InputError, match="the blood pool is not given"):
        blood_flow(turning[0] / "cine.nii.gz")
