"""A simulated heart in small files, and stand-ins for the two image networks of the strain pipeline."""

import nibabel
import numpy as np
import torch
from torch.nn import functional

from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.datasets.write import write_cases
from cardiac_motion.simulation.sequence import Settings
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities

SIZE, FRAMES = 128, 20


def write_heart(folder, views=("apical_4ch",), frames=FRAMES, seed=3):
    """Cines with labels and truth, one a view: the folders of the cases."""
    settings = Settings(
        probes=("reference",), gls=(-0.2, -0.18), heart_rate=(60.0, 62.0), rotation=0.0, shift=0.0, defect=0.0,
        artefact=0.0, scatterers=30_000, shape=(SIZE, SIZE), coupled=True,
    )  # fmt: skip
    source = TemplateSource(None, None, list(views))
    split = {"test": [source.name(k) for k in range(len(views))]}
    assert not write_cases(folder, source, len(views), frames, seed, settings, split)
    return sorted(f for f in folder.iterdir() if f.is_dir())


class TrueLabels:
    """Segments by the labels on disk; ``empty`` finds nothing."""

    def __init__(self, path=None, empty=False):
        self.path, self.empty = path, empty

    def __call__(self, cine):
        labels = np.asarray(nibabel.load(self.path).dataobj).transpose(2, 1, 0)[: len(cine)]
        labels = torch.from_numpy(np.ascontiguousarray(labels)).long() * (not self.empty)
        return functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()


class Says:
    """Classifies every cine as one view."""

    def __init__(self, view="apical_4ch", probability=0.97):
        self.view, self.probability = view, probability

    def __call__(self, cine):
        rest = ("other", "subcostal_4ch", "inferior_vena_cava")
        shares = {self.view: self.probability, **{name: (1 - self.probability) / 3 for name in rest}}
        return ViewProbabilities(shares, 6.0)
