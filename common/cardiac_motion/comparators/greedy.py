"""Greedy diffeomorphic registration (Yushkevich et al. 2016), the program ``greedy`` from its wheel, in 2D and 3D.

Needs ``pip install 'cardiac-motion-bundles[greedy]'``: picsl_greedy (Apache-2.0), which brings SimpleITK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

METRICS = ("NCC", "WNCC", "SSD", "NMI")


class GreedyRegistration(ClassicalMethod):
    """Register each pair of a batch with greedy, deformably, from the identity.

    Args:
        metric: ``NCC`` (local), ``WNCC`` (local, weighted by its mask), ``SSD`` or ``NMI``.
        radius: radius of the local NCC's window in voxels.
        iterations: iterations per level, coarse to fine; each level halves the image. Levels too small for the window
            are skipped.
        gradient_sigma: standard deviation of the Gaussian that smooths each update of the field, in voxels of a level.
        total: standard deviation of the Gaussian that smooths the total field, in voxels of a level.
        step: largest displacement of a voxel per iteration, in voxels of a level.
        threads: number of the program's threads.

    Raises:
        InputError: picsl_greedy is not installed, or an argument is out of range.
    """

    axes = (2, 3)

    def __init__(
        self,
        metric: str = "NCC",
        radius: int = 4,
        iterations: Sequence[int] = (100, 100, 50, 30),
        gradient_sigma: float = 3.0,
        total: float = 0.7,
        step: float = 1.0,
        threads: int = 1,
    ) -> None:
        super().__init__()
        if metric not in METRICS:
            raise InputError(f"greedy's metric must be one of {', '.join(METRICS)}; got {metric}")
        if not iterations or min(radius, *iterations) < 0 or radius < 1 or min(gradient_sigma, total, step) < 0:
            raise InputError(
                "greedy: radius must be at least 1, iterations, gradient_sigma, total and step at least 0; got "
                f"{radius}, {list(iterations)}, {gradient_sigma}, {total}, {step}"
            )
        picsl_greedy = import_extra("picsl_greedy", "greedy")
        self._programs: dict[int, Any] = {2: picsl_greedy.Greedy2D, 3: picsl_greedy.Greedy3D}
        self.metric, self.radius, self.iterations = metric, radius, tuple(int(n) for n in iterations)
        self.gradient_sigma, self.total, self.step, self.threads = gradient_sigma, total, step, threads

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels."""
        import SimpleITK as sitk

        axes = fixed.ndim
        levels = max(1, sum(min(fixed.shape) >> level >= 2 * self.radius + 2 for level in range(len(self.iterations))))
        window = "x".join([str(self.radius)] * axes)
        metric = f"{self.metric} {window}" if "NCC" in self.metric else self.metric
        program = self._programs[axes]()
        program.execute(
            f"-d {axes} -threads {self.threads} -V 0 -i fixed moving -o warp -m {metric} -e {self.step} "
            f"-n {'x'.join(map(str, self.iterations[-levels:]))} -s {self.gradient_sigma}vox {self.total}vox",
            fixed=sitk.GetImageFromArray(fixed),
            moving=sitk.GetImageFromArray(moving),
            warp=None,
        )
        vectors = sitk.GetArrayFromImage(program["warp"])
        return np.moveaxis(vectors[..., ::-1], -1, 0)
