"""Symmetric normalisation by ANTs (Avants et al. 2008), through ANTsPy, with the networks' interface, in 2D and 3D."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
SEED = "ANTS_RANDOM_SEED"
FEATURE = "ANTs' registration"


PRESETS: dict[str, tuple[str, tuple[int, ...]]] = {
    "quick": ("SyN", (40, 20, 0)),
    "cc": ("BSplineSyN[0.25,{mesh},0,3]", (200, 200, 200)),
    "syn_cc": ("SyN[0.2,3,0]", (100, 70, 50)),
}
MESH = 5


class AntsRegistration(ClassicalMethod):
    """Register each pair of a batch with ANTs, on the CPU.

    Args:
        preset: ``quick`` is ANTsPy's ``SyN`` (affine, then SyN with mutual information, 40×20×0 iterations); ``cc`` is
            the setting of SSMSR and VoxelMorph: B-spline SyN with step 0.25 and mesh 5, local cross-correlation, three
            scales of 200 iterations; ``syn_cc`` is SyN with local cross-correlation, 100×70×50 iterations.
        radius: radius of the cross-correlation window in voxels.
        iterations: iterations per level, coarse to fine; None uses the preset's.
        seed: seed of ANTs' sampling.
        threads: number of ITK's threads; with one thread, equal seeds give equal fields.

    Raises:
        InputError: unknown preset, or ANTsPy is not installed.
    """

    axes = (2, 3)

    def __init__(
        self,
        preset: str = "cc",
        radius: int = 4,
        iterations: Sequence[int] | None = None,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise InputError(f"ANTs preset must be one of {', '.join(PRESETS)}; got {preset}")
        self.preset, self.radius, self.seed, self.threads = preset, radius, seed, threads
        import_extra("ants", FEATURE)
        self.iterations = tuple(iterations or PRESETS[preset][1])

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels."""
        ants = import_extra("ants", FEATURE)
        with tempfile.TemporaryDirectory() as folder, environment(self.threads, self.seed):
            prefix = str(Path(folder) / "ants")
            images = ants.from_numpy(fixed), ants.from_numpy(moving)
            if self.preset == "quick":
                transforms = ants.registration(*images, "SyN", outprefix=prefix, reg_iterations=self.iterations)[
                    "fwdtransforms"
                ]
            else:
                ants.registration(self._arguments(images, prefix), None)
                transforms = [f"{prefix}0Warp.nii.gz"]
            composed = ants.apply_transforms(*images, transforms, compose=prefix)
            field = ants.image_read(composed).numpy()
        return np.moveaxis(field, -1, 0)

    def _arguments(self, images: tuple[Any, Any], prefix: str) -> list[str]:
        """Arguments of ``antsRegistration``: one deformable stage with local cross-correlation, from the identity."""
        axes, levels = images[0].dimension, len(self.iterations)
        fixed, moving = map(import_extra("ants.internal", FEATURE).get_pointer_string, images)
        return [
            "--dimensionality", str(axes), "--float", "1", "--random-seed", str(self.seed), "--output", prefix,
            "--use-histogram-matching", "0",
            "--metric", f"CC[{fixed},{moving},1,{self.radius}]",
            "--transform", PRESETS[self.preset][0].format(mesh="x".join([str(MESH)] * axes)),
            "--convergence", f"[{'x'.join(map(str, self.iterations))},1e-6,10]",
            "--shrink-factors", "x".join(str(2**i) for i in reversed(range(levels))),
            "--smoothing-sigmas", "x".join(map(str, reversed(range(levels)))),
        ]  # fmt: skip


@contextlib.contextmanager
def environment(threads: int, seed: int) -> Iterator[None]:
    """Set ITK's thread count and ANTs' random seed inside the block (ITK reads its thread count only once).

    Examples:
        >>> with environment(2, 7):
        ...     os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]
        '2'
    """
    before = {name: os.environ.get(name) for name in (THREADS, SEED)}
    os.environ |= {THREADS: str(threads), SEED: str(seed)}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
