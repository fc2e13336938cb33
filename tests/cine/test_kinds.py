"""What a file is: by name, by first bytes, and how many frames its header says."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.kinds import KINDS, count_frames, find_kind, kind_by_name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii.gz", "nifti"), ("A.DCM", "dicom"), ("b.MP4", "video"), ("c.tiff", "tiff"), ("d.nrrd", "nrrd"),
     ("e.mha", "metaimage"), ("f.gif", "gif"), ("g.png", "picture"), ("h", None), ("i.txt", None)],
)  # fmt: skip
def test_the_kind_by_name(tmp_path, name, kind):
    assert kind_by_name(tmp_path / name) == kind and (kind is None or kind in KINDS)


def test_first_bytes_tell_what_a_name_does_not(tmp_path):
    (tmp_path / "IM0001").write_bytes(open(demo_cine(), "rb").read(2000))
    assert find_kind(tmp_path / "IM0001") == "dicom"
    (tmp_path / "scan.nii").write_bytes(bytes(128) + b"DICM" + bytes(300))
    assert find_kind(tmp_path / "scan.nii") == "dicom", "a DICOM file whatever its name"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "picture", format="PNG")
    assert find_kind(tmp_path / "picture") == "picture"
    (tmp_path / "notes.txt").write_bytes(b"GIF89a and so on")
    assert find_kind(tmp_path / "notes.txt") is None, "text is not looked into"
    assert find_kind(tmp_path / "none") is None


def test_frames_are_counted_by_the_header(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 9, 7), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    frames = [Image.fromarray(np.full((8, 8), 9 * k, np.uint8)) for k in range(5)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "c.tif", save_all=True, append_images=frames[1:3])
    assert [count_frames(tmp_path / n) for n in ("a.nii.gz", "b.gif", "c.tif")] == [7, 5, 3]
    (tmp_path / "d.nii").write_bytes(b"no header")
    assert count_frames(tmp_path / "d.nii") is None and count_frames(tmp_path) is None
