"""ConvexAdam (Siebert, Großbröhmer, Hansen, Heinrich 2021, 10.1007/978-3-030-97281-3_19), its package, on the CPU.

A coarse search over all displacements by coupled convex optimisation on MIND-SSC features, made inverse-consistent,
then Adam on a field of splines. Needs ``pip install 'cardiac-motion-bundles[convexadam]'``: convexAdam (Apache-2.0).
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra


class ConvexAdam(ClassicalMethod):
    """Registers each pair of volumes of a batch with convexAdam, from the identity; the defaults are the package's.

    Args:
        grid: of the coarse search, voxels a cell.
        search: displacements looked at, cells to either side.
        fine_grid: of the field that Adam moves, voxels a cell.
        steps: of Adam.
        regularisation_weight: weight of its diffusion term.
        radius: of the patches of MIND-SSC in voxels.
        dilation: between them, voxels.

    Raises:
        InputError: convexAdam is not installed, or a number that can't be.
    """

    axes = (3,)

    def __init__(
        self,
        grid: int = 6,
        search: int = 4,
        fine_grid: int = 2,
        steps: int = 80,
        regularisation_weight: float = 1.25,
        radius: int = 1,
        dilation: int = 2,
    ) -> None:
        super().__init__()
        if min(grid, search, fine_grid, steps, radius, dilation) < 1 or regularisation_weight <= 0:
            raise InputError(
                "convexAdam: grid, search, fine_grid, steps, radius and dilation are at least 1, "
                f"regularisation_weight is positive; got {grid}, {search}, {fine_grid}, {steps}, {radius}, {dilation}, "
                f"{regularisation_weight}"
            )
        with warnings.catch_warnings():  # the package silences all warnings where it is imported
            self._package = import_extra("convexAdam.convex_adam_MIND", "convexAdam")
        self.multiple = math.lcm(grid, fine_grid)
        self.options = {
            "grid_sp": grid,
            "disp_hw": search,
            "grid_sp_adam": fine_grid,
            "selected_niter": steps,
            "lambda_weight": regularisation_weight,
            "mind_r": radius,
            "mind_d": dilation,
        }

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[3, *S]`` in voxels.

        Both volumes are padded by their edge to a multiple of the grids, which would otherwise be stretched to fit.
        """
        inside = (slice(None), *map(slice, fixed.shape))
        pad = [(0, -n % self.multiple) for n in fixed.shape]
        pair = (np.pad(volume, pad, mode="edge") for volume in (fixed, moving))
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's about align_corners
            vectors = self._package.convex_adam_pt(
                *pair, **self.options, dtype=torch.float32, device=torch.device("cpu")
            )
        return np.moveaxis(vectors, -1, 0)[inside]
