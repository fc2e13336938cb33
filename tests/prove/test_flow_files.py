"""Flow files: components, sign and unknown places."""

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.prove.flow_files import TAG, read_flow


def write_flow(path, flow):
    """Write ``flow [H, W, 2]`` (column, row) as a ``.flo`` file."""
    height, width, _ = flow.shape
    head = np.float32(TAG).tobytes() + np.array([width, height], "<i4").tobytes()
    path.write_bytes(head + flow.astype("<f4").tobytes())


def test_the_flow_from_image_1_to_2_pulls_image_2_back(tmp_path):
    first = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    second = first.roll((2, -3), (2, 3))  # what is at p in image 1 is at p + (2, -3) in image 2
    write_flow(tmp_path / "a.flo", np.broadcast_to([-3.0, 2.0], (20, 30, 2)))
    ddf, known = read_flow(tmp_path / "a.flo")
    assert ddf.shape == (1, 2, 20, 30) and known.all()
    torch.testing.assert_close(warp(second, ddf)[..., 4:-4, 4:-4], first[..., 4:-4, 4:-4])


def test_places_without_flow_are_unknown(tmp_path):
    flow = np.zeros((4, 5, 2))
    flow[1, 2], flow[3, 4, 0] = 1.7e9, np.nan
    write_flow(tmp_path / "a.flo", flow)
    ddf, known = read_flow(tmp_path / "a.flo")
    assert (~known).nonzero().tolist() == [[1, 2], [3, 4]] and ddf.abs().max() == 0


HEAD = np.float32(TAG).tobytes()
SHORT = HEAD + np.array([9, 9], "<i4").tobytes() + bytes(100)


@pytest.mark.parametrize("content", [b"", b"P6 4 4 and more than twelve bytes", HEAD + bytes(8), SHORT, None])
def test_what_is_no_flow_file_is_refused(tmp_path, content):
    path = tmp_path / "a.flo"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flo: no"):
        read_flow(path)
