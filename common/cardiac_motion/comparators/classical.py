"""What classical methods have in common as networks of the contract: each pair of a batch for itself, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Whole grey values 0 to 255, as OpenCV takes them, of an image in unit range.

    Examples:
        >>> to_bytes(np.array([-1, 0, 0.5, 2])).tolist()
        [0, 0, 128, 255]
    """
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def from_opencv(flow: np.ndarray) -> np.ndarray:
    """The field ``[2, H, W]``, rows first, of OpenCV's flow ``[H, W, 2]``, columns first.

    Examples:
        >>> from_opencv(np.array([[[1.0, 2.0]]])).tolist()
        [[[2.0]], [[1.0]]]
    """
    return flow[..., ::-1].transpose(2, 0, 1)


class ClassicalMethod(nn.Module):
    """A function of two images as a network; a subclass gives ``register``.

    Attributes:
        axes: numbers of image axes that it takes.
    """

    axes: Sequence[int] = (2,)

    def forward(self, image: Tensor) -> Tensor:
        """``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` in voxels.

        Raises:
            ValueError: another shape.
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
        """The field ``[d, *S]`` in voxels of two images ``[*S]`` float32, neither of them of one grey value."""
        raise NotImplementedError
