"""Free-form deformation by cubic B-splines (Rueckert et al. 1999; Modat et al. 2010), in 2D and 3D.

``BSplineRegistration`` is an implementation in torch with the local NCC of the other methods; it is not NiftyReg.
``NiftyReg`` runs NiftyReg's program if it is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor, nn

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.arrays import scale_size
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import downsample, rescale, warp
from cardiac_motion.fields.ncc import LocalNCCLoss


@lru_cache(maxsize=64)
def basis(size: int, spacing: float) -> Tensor:
    """Return cubic B-spline weights ``[size, controls]`` of voxels 0 … size − 1, for controls every ``spacing`` voxels.

    The first control lies one spacing before voxel 0, the last one beyond the last voxel; each row sums to 1.

    Examples:
        >>> weights = basis(8, 4.0)
        >>> tuple(weights.shape), bool((weights.sum(1) - 1).abs().max() < 1e-6)
        ((8, 5), True)
    """
    at = torch.arange(size, dtype=torch.float64) / spacing
    controls = int(at[-1].floor()) + 4
    distance = (at[:, None] - torch.arange(-1, controls - 1)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far).float()


def spline_field(controls: Tensor, size: Sequence[int], spacing: float) -> Tensor:
    """Evaluate the field ``[B, d, *size]`` of control points ``[B, d, *C]``, in the controls' unit.

    Examples:
        >>> controls = torch.full((1, 2, 5, 6), 1.5)  # the same displacement everywhere
        >>> field = spline_field(controls, (8, 12), 4.0)
        >>> tuple(field.shape), bool((field - 1.5).abs().max() < 1e-5)
        ((1, 2, 8, 12), True)
    """
    field = controls
    for n in size:
        field = torch.tensordot(field, basis(n, spacing).to(field), dims=([2], [1]))  # the new axis comes last
    return field


def bending_energy(controls: Tensor) -> Tensor:
    """Mean square of the second differences of control points ``[B, d, *C]``; mixed differences count twice.

    Examples:
        >>> line = torch.arange(6.0).expand(1, 1, 6, 6)
        >>> float(bending_energy(line)), float(bending_energy(line.square()))  # an affine field is not bent
        (0.0, 4.0)
    """
    axes = range(2, controls.dim())
    first = {a: controls.diff(dim=a) for a in axes}
    pure = sum((first[a].diff(dim=a).square().mean() for a in axes), torch.zeros(()))
    mixed = sum((first[a].diff(dim=b).square().mean() for a in axes for b in axes if a < b), torch.zeros(()))
    return pure + 2 * mixed


class BSplineRegistration(nn.Module):
    """Free-form deformation with local NCC, optimised by Adam from coarse to fine, with the networks' interface.

    Args:
        spacing: spacing of the control points in voxels of each level (5 in the papers).
        levels: number of levels, each at half the size of the next (3 in the papers).
        steps: steps per level.
        radius: radius of the NCC window in voxels.
        bending: weight of the bending energy (displacement in voxels of the level).
        learning_rate: Adam's learning rate in voxels.
    """

    def __init__(
        self,
        spacing: float = 5.0,
        levels: int = 3,
        steps: int = 100,
        radius: int = 2,
        bending: float = 0.02,
        learning_rate: float = 0.1,
    ) -> None:
        super().__init__()
        if levels < 1 or spacing < 1 or steps < 1:
            raise InputError(f"levels, spacing and steps must be at least 1; got {levels}, {spacing}, {steps}")
        self.spacing, self.levels, self.steps = spacing, levels, steps
        self.loss, self.bending, self.learning_rate = LocalNCCLoss(radius, eps=1e-6), bending, learning_rate

    def forward(self, image: Tensor) -> Tensor:
        """Map ``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` in voxels."""
        return torch.cat([self._register(pair) for pair in image.split(1)])

    def _register(self, image: Tensor) -> Tensor:
        window = 2 * self.loss.radius + 1
        sizes = [scale_size(image.shape[2:], 0.5**level) for level in reversed(range(self.levels))]
        field = image.new_zeros(1, image.dim() - 2, *sizes[0])
        for size in (s for s in sizes if min(s) >= window):
            pair = downsample(image, size)
            start = _fit(rescale(field, size), self.spacing)
            controls = start.requires_grad_()
            optimiser = torch.optim.Adam([controls], lr=self.learning_rate)
            with torch.enable_grad():
                for _ in show_bar(range(self.steps), f"B-splines, {'×'.join(map(str, size))}", "step"):
                    ddf = spline_field(controls, size, self.spacing)
                    loss = self.loss(warp(pair[:, :1], ddf), pair[:, 1:]) + self.bending * bending_energy(controls)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
            field = spline_field(controls.detach(), size, self.spacing)
        return rescale(field, image.shape[2:])


def _fit(field: Tensor, spacing: float) -> Tensor:
    """Fit control points to ``field [B, d, *S]`` by least squares."""
    for size in field.shape[2:]:
        inverse = torch.linalg.pinv(basis(size, spacing).double()).to(field)
        field = torch.tensordot(field, inverse, dims=([2], [1]))
    return field


class NiftyReg(ClassicalMethod):
    """NiftyReg's ``reg_f3d`` (Modat et al. 2010) with the networks' interface, on the CPU.

    Args:
        program: path of ``reg_f3d``; by default the one on PATH. ``reg_transform`` must be in the same folder.
        spacing: spacing of the control points in voxels.
        levels: number of scales.
        iterations: maximum number of iterations per scale.
        deviation: standard deviation of the local NCC's Gaussian window in voxels.
        threads: number of OpenMP threads.

    Raises:
        InputError: the program is not installed.
    """

    axes = (2, 3)

    def __init__(
        self,
        program: str | None = None,
        spacing: float = 5.0,
        levels: int = 3,
        iterations: int = 500,
        deviation: float = 2.0,
        threads: int = 1,
    ) -> None:
        super().__init__()
        reg_f3d = shutil.which(program or "reg_f3d")
        transform = reg_f3d and shutil.which(str(Path(reg_f3d).with_name("reg_transform")))
        if not reg_f3d or not transform:
            raise InputError(
                f"{program or 'reg_f3d'}: NiftyReg is not installed; put reg_f3d and reg_transform on PATH, or give a "
                "path as the option 'program'. The B-spline registration in torch needs no program"
            )
        self.program, self.transform = reg_f3d, transform
        self.options = ["-sx", f"-{spacing:g}", "-ln", str(levels), "-maxit", str(iterations)]
        self.options += ["--lncc", f"{-deviation:g}", "-omp", str(threads)]

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels."""
        axes = fixed.ndim
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for values, file in ((moving, "moving.nii"), (fixed, "fixed.nii")):
                nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / file)
            files = ("-ref", "fixed.nii", "-flo", "moving.nii", "-cpp", "cpp.nii", "-res", "warped.nii")
            self._call(folder, self.program, *files, *self.options)
            self._call(folder, self.transform, "-ref", "fixed.nii", "-disp", "cpp.nii", "disp.nii")
            vectors = np.asarray(nibabel.load(folder / "disp.nii").dataobj, dtype=np.float32)  # type: ignore[attr-defined]
        return np.moveaxis(vectors.reshape(*fixed.shape, -1)[..., :axes], -1, 0)

    @staticmethod
    def _call(folder: Path, *command: str) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise InputError(f"{command[0]} failed with exit status {done.returncode}: {lines[-1]}")
