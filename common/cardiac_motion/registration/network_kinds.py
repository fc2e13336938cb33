"""What a network of the contract may do beyond giving a field."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TellsDeviation(Protocol):
    """A network that says how uncertain its field is."""

    def forward_with_deviation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the field and the standard deviation of its components, both ``[B, d, *S]`` in voxels.

        Args:
            image: ``[B, 2, *S]``: moving, fixed; unit range.
        """


@runtime_checkable
class RefinesField(Protocol):
    """A network that makes a field better that is nearly right."""

    def refine(self, image: Tensor, ddf: Tensor) -> Tensor:
        """Return the better field ``[B, d, *S]`` in voxels.

        Args:
            image: ``[B, 2, *S]``: moving, fixed; unit range.
            ddf: ``[B, d, *S]`` in voxels, pulling back.
        """
