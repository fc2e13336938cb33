"""An evaluator whose network finds that nothing moves."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.evaluation.cine import CineEvaluator
from cardiac_motion.registration.pairwise import PairwiseInferer


class Still(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return torch.zeros(len(image), 2, *image.shape[2:]) + self.weight


def evaluator(folder, names=("a", "b"), handlers=(), **settings):
    dataset = CineCases([str(folder / f"{name}.nii.gz") for name in names])
    loader = DataLoader(dataset, batch_size=None)
    given = {
        "device": "cpu",
        "inferer": PairwiseInferer(progress=False),
        "save_figures": False,
        "method": "still",
        **settings,
    }
    return CineEvaluator(
        val_data_loader=loader,
        network=Still(),
        output_dir=str(folder / "out"),
        val_handlers=handlers,
        **given | settings,
    )
