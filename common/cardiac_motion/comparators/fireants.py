"""FireANTs' greedy registration (Jena, Chaudhari, Gee 2024, arXiv 2404.01249), its package without the CUDA parts.

A dense field by Adam on the group of diffeomorphisms, each step composed, coarse to fine, with local NCC. Needs
``pip install 'cardiac-motion-bundles[fireants]'``: fireants (its own licence), whose wheel asks for an old SimpleITK.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

NEEDS = "FireANTs"
SHORTEST = 32  # voxels a side that the package takes


class FireAnts(ClassicalMethod):
    """Registers each pair of a batch with FireANTs' greedy method, from the identity, on the CPU.

    The defaults are those of the package's tutorial, and where that names none, of its class.

    Args:
        scales: by which the image is divided, coarse to fine.
        iterations: at most, a scale.
        window: of local NCC, voxels a side.
        learning_rate: of Adam.
        gradient_sigma: standard deviation of the Gaussian over each gradient, voxels of a scale.
        total: the same, over the whole field.

    Raises:
        InputError: fireants is not installed, or an option that can't be.
    """

    axes = (2, 3)

    def __init__(
        self,
        scales: Sequence[float] = (4, 2, 1),
        iterations: Sequence[int] = (200, 100, 25),
        window: int = 5,
        learning_rate: float = 0.5,
        gradient_sigma: float = 1.0,
        total: float = 0.5,
    ) -> None:
        super().__init__()
        if not scales or len(scales) != len(iterations) or list(scales) != sorted(set(scales), reverse=True):
            raise InputError(
                f"FireANTs: scales fall, and there are as many iterations; got {list(scales)} and {list(iterations)}"
            )
        if min(*scales, *iterations, window) < 1 or learning_rate <= 0 or min(gradient_sigma, total) < 0:
            raise InputError(
                "FireANTs: scales, iterations and window are at least 1, learning_rate is positive, gradient_sigma and "
                f"total at least 0; got {list(scales)}, {list(iterations)}, {window}, {learning_rate}, "
                f"{gradient_sigma}, {total}"
            )
        with silence():
            self._images = import_extra("fireants.io.image", NEEDS)
            self._greedy = import_extra("fireants.registration.greedy", NEEDS)
        self.scales, self.iterations = list(scales), list(iterations)
        self.options = {
            "cc_kernel_size": window,
            "optimizer_lr": learning_rate,
            "smooth_grad_sigma": gradient_sigma,
            "smooth_warp_sigma": total,
        }

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[d, *S]`` in voxels; an image that is too small for the package is padded by its edge."""
        import SimpleITK as sitk

        inside = (slice(None), *map(slice, fixed.shape))
        pad = [(0, max(SHORTEST - n, 0)) for n in fixed.shape]
        moving, fixed = (np.pad(image, pad, mode="edge") for image in (moving, fixed))

        with silence(), torch.enable_grad():
            to, move = (
                self._images.BatchedImages([self._images.Image(sitk.GetImageFromArray(image), device="cpu")])
                for image in (fixed, moving)
            )
            method = self._greedy.GreedyRegistration(
                self.scales, self.iterations, to, move, progress_bar=False, **self.options
            )
            method.optimize()
            grid = method.get_warp_parameters(method.fixed_images, method.moving_images)["grid"].detach()[0]
        half = (torch.tensor(fixed.shape) - 1) / 2  # the grid is in [-1, 1], its last axis first
        return (grid.flip(-1) * half).movedim(-1, 0).numpy()[inside]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing is printed or logged inside the block, and the root logger stays as it was."""
    root = logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(before)
