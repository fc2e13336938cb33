"""FireANTs' greedy registration (Jena, Chaudhari, Gee 2024, arXiv 2404.01249), its package without the CUDA parts.

Adam on the group of diffeomorphisms: a dense field updated by composition, coarse to fine, with local NCC. Needs
``pip install 'cardiac-motion-bundles[fireants]'``: fireants (own licence), whose wheel requires an old SimpleITK.
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

FEATURE = "FireANTs"
SHORTEST = 32  # shortest side in voxels that the package accepts


class FireAnts(ClassicalMethod):
    """Register each pair of a batch with FireANTs' greedy method, from the identity, on the CPU.

    The defaults are those of the package's tutorial or, where it names none, of its class.

    Args:
        scales: downsampling factors, coarse to fine.
        iterations: maximum number of iterations per scale.
        window: side of the local NCC's window in voxels.
        learning_rate: Adam's learning rate.
        gradient_sigma: standard deviation of the Gaussian that smooths each gradient, in voxels of a scale.
        total: standard deviation of the Gaussian that smooths the total field, in voxels of a scale.

    Raises:
        InputError: fireants is not installed, or an argument is out of range.
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
                f"FireANTs: scales must decrease, with one iteration count each; got {list(scales)}, {list(iterations)}"
            )
        if min(*scales, *iterations, window) < 1 or learning_rate <= 0 or min(gradient_sigma, total) < 0:
            raise InputError(
                "FireANTs: scales, iterations and window must be at least 1, learning_rate positive, gradient_sigma "
                f"and total at least 0; got {list(scales)}, {list(iterations)}, {window}, {learning_rate}, "
                f"{gradient_sigma}, {total}"
            )
        with silence():
            self._images = import_extra("fireants.io.image", FEATURE)
            self._greedy = import_extra("fireants.registration.greedy", FEATURE)
        self.scales, self.iterations = list(scales), list(iterations)
        self.options = {
            "cc_kernel_size": window,
            "optimizer_lr": learning_rate,
            "smooth_grad_sigma": gradient_sigma,
            "smooth_warp_sigma": total,
        }

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels; images too small for the package are edge-padded."""
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
        return np.asarray((grid.flip(-1) * half).movedim(-1, 0).numpy()[inside])


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress printing and logging inside the block, and restore the root logger afterwards.

    Examples:
        >>> with silence():
        ...     print("not seen")
    """
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
