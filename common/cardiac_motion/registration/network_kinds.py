"""Optional capabilities of a registration network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TellsDeviation(Protocol):
    """A network that estimates the uncertainty of its field."""

    def forward_with_deviation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the field and the standard deviation of its components, both ``[B, d, *S]`` in voxels.

        Args:
            image: ``[B, 2, *S]``: moving, fixed; unit range.
        """


@runtime_checkable
class RefinesField(Protocol):
    """A network that can refine a nearly correct field."""

    def refine(self, image: Tensor, ddf: Tensor) -> Tensor:
        """Return the refined field ``[B, d, *S]`` in voxels.

        Args:
            image: ``[B, 2, *S]``: moving, fixed; unit range.
            ddf: ``[B, d, *S]`` in voxels, pulling back.
        """
