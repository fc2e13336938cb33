"""ConvexAdam (Siebert, Großbröhmer, Hansen, Heinrich 2021, 10.1007/978-3-030-97281-3_19), its package, on the CPU.

Coupled convex optimisation searches all displacements on a coarse grid with MIND-SSC features, is made
inverse-consistent, and is followed by Adam on a spline field. Needs
``pip install 'cardiac-motion-bundles[convexadam]'``: convexAdam (Apache-2.0).
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
    """Register each pair of volumes of a batch with convexAdam, from the identity; the defaults are the package's.

    Args:
        grid: spacing of the coarse search's grid in voxels.
        search: search radius in grid cells.
        fine_grid: grid spacing of the field that Adam optimises, in voxels.
        steps: number of Adam's steps.
        regularisation_weight: weight of the diffusion regulariser.
        radius: radius of the MIND-SSC patches in voxels.
        dilation: distance between the patches in voxels.

    Raises:
        InputError: convexAdam is not installed, or an argument is out of range.
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
                "convexAdam: grid, search, fine_grid, steps, radius and dilation must be at least 1, "
                f"regularisation_weight positive; got {grid}, {search}, {fine_grid}, {steps}, {radius}, {dilation}, "
                f"{regularisation_weight}"
            )
        with warnings.catch_warnings():  # importing the package silences all warnings
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
        """Return the field ``[3, *S]`` in voxels.

        Both volumes are edge-padded to a multiple of both grids; otherwise the package would stretch them to fit.
        """
        inside = (slice(None), *map(slice, fixed.shape))
        pad = [(0, -n % self.multiple) for n in fixed.shape]
        pair = (np.pad(volume, pad, mode="edge") for volume in (fixed, moving))
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about align_corners
            vectors = self._package.convex_adam_pt(
                *pair, **self.options, dtype=torch.float32, device=torch.device("cpu")
            )
        return np.moveaxis(vectors, -1, 0)[inside]
