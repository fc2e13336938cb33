"""Three small cines and their list."""

from cardiac_motion.cine.write import write_cine
from tests.conftest import moving_cine

CASES = ("c0", "c1", "c2")


def write_cines(folder, names=CASES):
    cine, _ = moving_cine(3, (64, 72))
    for i, name in enumerate(names):
        write_cine(folder / f"{name}.nii.gz", (cine * (1 - 0.2 * i))[None])
