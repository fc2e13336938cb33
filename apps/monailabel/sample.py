"""Sample studies, without network: the cine that ships with pydicom, and synthetic volumes with their atlases."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
from monai.data import MetaTensor
from torch.nn import functional

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.volume.cases import phantom_entries
from cardiac_motion.volume.phantom import phantom


def write_sample(folder: Path) -> tuple[Path, Path]:
    """Folders of studies and of atlases below ``folder``; what is there already is left as it is.

    The studies are ``apical_4ch_dicom`` (DICOM), ``apical_4ch`` (the same cine at half
    the resolution, NIfTI) and ``hippocampus_synthetic`` (NIfTI, made by code).
    """
    studies, atlases = folder / "studies", folder / "atlases"
    studies.mkdir(parents=True, exist_ok=True)
    if not (studies / "apical_4ch_dicom.dcm").exists():
        shutil.copyfile(demo_cine(), studies / "apical_4ch_dicom.dcm")
    if not (studies / "apical_4ch.nii.gz").exists():
        cine = read_cine(demo_cine())
        half = functional.avg_pool2d(cine.as_tensor()[0], 2)
        spacing = cine.meta["spacing"]
        meta = {**cine.meta, "spacing": spacing and tuple(2 * step for step in spacing)}
        write_cine(studies / "apical_4ch.nii.gz", MetaTensor(half[None], meta=meta))
    if not (studies / "hippocampus_synthetic.nii.gz").exists():
        nibabel.save(volume(phantom_entries("target", 1)[0]["phantom"])[0], studies / "hippocampus_synthetic.nii.gz")
    for name in ("imagesTr", "labelsTr"):
        (atlases / name).mkdir(parents=True, exist_ok=True)
    for entry in phantom_entries("atlas", 6):
        for image, name in zip(volume(entry["phantom"]), ("imagesTr", "labelsTr"), strict=True):
            nibabel.save(image, atlases / name / f"{entry['case']}.nii.gz")
    return studies, atlases


def volume(seed: int) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """A synthetic volume and its labels, 1 mm."""
    values, label = phantom(seed)
    return nibabel.Nifti1Image(values, np.eye(4)), nibabel.Nifti1Image(label, np.eye(4))
