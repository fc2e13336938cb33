"""A folder of patients in CAMUS's layout, drawn: a bright wall around a dark cavity over a dark atrium."""

import json

import nibabel
import numpy as np


def write_patients(folder, names=("patient0001", "patient0002"), shape=(120, 100)):
    """Frames and masks of each patient at both phases, and a split with all of them in ``train`` and ``valid``."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    rng = np.random.default_rng(0)
    sector = (np.hypot(rows - 2, columns - 50) < 112) & (np.abs(columns - 50) < 0.7 * (rows - 2))
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for phase, radius in (("ED", 14.0), ("ES", 10.0)):
            label = np.zeros(shape, dtype=np.uint8)
            distance = np.hypot((rows - 50) / 1.8, columns - 50 - 2 * number)
            label[distance < radius + 6] = 2
            label[distance < radius] = 1
            label[rows > 62] = 0
            label[(np.hypot(rows - 75, columns - 50 - 2 * number) < 12) & (rows > 62)] = 3
            grey = np.choose(label, [90, 20, 200, 20]) * rng.uniform(0.8, 1.2, shape)
            for ending, values in (("", grey * sector), ("_gt", label)):
                image = nibabel.Nifti1Image(values.astype(np.uint8).T, np.diag([0.6, 0.6, 1, 1]))
                nibabel.save(image, folder / name / f"{name}_4CH_{phase}{ending}.nii.gz")
    (folder / "split.json").write_text(
        json.dumps({"train": list(names), "valid": list(names), "test": []}), encoding="utf-8"
    )
    return folder
