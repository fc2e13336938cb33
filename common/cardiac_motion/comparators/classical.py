"""Base class that gives classical methods the networks' interface; pairs are registered one by one, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Convert an image in unit range to whole grey values 0 to 255, as OpenCV expects.

    Examples:
        >>> to_bytes(np.array([-1, 0, 0.5, 2])).tolist()
        [0, 0, 128, 255]
    """
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def from_opencv(flow: np.ndarray) -> np.ndarray:
    """Convert OpenCV's flow ``[H, W, 2]`` (column, row) to a field ``[2, H, W]`` (row, column).

    Examples:
        >>> from_opencv(np.array([[[1.0, 2.0]]])).tolist()
        [[[2.0]], [[1.0]]]
    """
    return flow[..., ::-1].transpose(2, 0, 1)


class ClassicalMethod(nn.Module):
    """A registration of two images as a network; subclasses implement ``register``.

    Attributes:
        axes: supported numbers of image axes.
    """

    axes: Sequence[int] = (2,)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` in voxels.

        Raises:
            ValueError: ``image`` has another shape.
        """
        if image.dim() - 2 not in self.axes or image.shape[1] != 2:
            expected = " or ".join("[B, 2, " + "DHW"[3 - n :].replace("", ", ")[2:-2] + "]" for n in self.axes)
            raise ValueError(f"expected {expected}, got {tuple(image.shape)}")
        pairs = image.detach().cpu().float().numpy()
        return torch.stack([torch.from_numpy(self._field(*pair)) for pair in pairs]).to(image.device)

    def _field(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        if np.ptp(moving) == 0 or np.ptp(fixed) == 0:
            return np.zeros((fixed.ndim, *fixed.shape), dtype=np.float32)
        return np.ascontiguousarray(self.register(moving, fixed), dtype=np.float32)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels of two images ``[*S]``, float32, neither of them constant."""
        raise NotImplementedError
