"""Registration of arrays by a method's name, with the bundle's network, inferer and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from torch import Tensor

from cardiac_motion.bundle.config import content, parse_config
from cardiac_motion.bundle.registration_methods import INFERER, method_files
from cardiac_motion.cine.read import frame_pairs
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.registration.result import register as register_pairs
from cardiac_motion.volume.transforms import normalise

Image = Tensor | np.ndarray


def register(
    images: Image | Sequence[Image],
    method: str = "ncc_flow",
    *,
    mask: Image | None = None,
    bundles: str | Path | None = None,
    **options: Any,
) -> RegistrationResult:
    """Register the frames of a cine, or one image to another.

    The displacement field pulls back: ``warped(p) = moving(p + ddf(p))``. For a cine, pair t has frame t as the moving
    and frame t + 1 as the fixed image.

    Args:
        images: one of

            - a cine, ``[1, T, H, W]`` from ``read_cine``, or ``[T, H, W]``;
            - two images, ``(moving, fixed)``: frames ``[H, W]``, or volumes ``[X, Y, Z]`` (or ``[1, …]``). For two
              volumes from ``read_volume``, the moving one is first resampled to the grid of the fixed one;
            - pairs ``[N, 2, *S]``, channel 0 moving, channel 1 fixed.

            Frames are in [0, 1], or integers up to 255; volumes are scaled as in the bundles (``normalise``).
        method: a name of ``list_methods()``.
        mask: ``[*S]``, the region to register; None is the ultrasound sector for a cine from ``read_cine``, and
            everything for other images.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.
        **options: override values of the method's configuration (``steps=40``).

    Returns:
        ``ddf [N, d, *S]`` in voxels, array axis order, on the fixed grid, on the CPU, with the seconds it took.

    Raises:
        InputError: an unknown method or option, images of other shapes or values, or a bundle that is not found.

    Examples:
        >>> moving = torch.rand(48, 64)
        >>> result = register((moving, moving.roll(1, 1)), method="dis")
        >>> tuple(result.ddf.shape)
        (1, 2, 48, 64)
    """
    pairs, region = _to_pairs(images)
    dimensions = pairs.dim() - 2
    if mask is not None:
        region = torch.as_tensor(np.asarray(mask)).bool()
        if region.shape[-dimensions:] != pairs.shape[2:]:
            raise InputError(f"mask: shape {tuple(region.shape)} differs from the images', {tuple(pairs.shape[2:])}")
        region = region.reshape(-1, 1, *pairs.shape[2:])
    parser = parse_config(method_files(method, dimensions, bundles), options)
    _drop_checkpoints(parser)
    with _use_seed(parser):
        network = content(parser, "network").to(content(parser, "device"))
        result = register_pairs(pairs, network, content(parser, INFERER[dimensions]), region)
    return replace(result, ddf=result.ddf.float().cpu())


@contextmanager
def _use_seed(parser: ConfigParser) -> Iterator[None]:
    """Use the bundle's seed for random numbers, and restore the caller's generators afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - NumPy's global state is restored
    with torch.random.fork_rng():
        torch.manual_seed(parser["seed"])
        np.random.seed(parser["seed"])  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _drop_checkpoints(parser: ConfigParser) -> None:
    """Store no checkpoints: an array has no folder of results."""
    for name in INFERER.values():
        if f"{name}::checkpoint_dir" in parser:
            parser[f"{name}::checkpoint_dir"] = None
    parser.parse(reset=True)


def _to_pairs(images: Image | Sequence[Image]) -> tuple[Tensor, Tensor | None]:
    """Return pairs ``[N, 2, *S]`` in [0, 1], and the mask ``[1, 1, *S]`` of a cine with regions."""
    if isinstance(images, tuple | list):
        return _pair_of(images), None
    tensor = _to_tensor(images)  # type: ignore[arg-type]
    if tensor.dim() == 5 and tensor.shape[1] == 2:
        return torch.stack([_normalise_volume(image) for image in tensor.flatten(0, 1)]).view(tensor.shape), None
    tensor = _check_unit_range(tensor)
    if tensor.dim() == 3:
        tensor = tensor[None]
    if tensor.dim() != 4 or (tensor.shape[0] != 1 and tensor.shape[1] != 2):
        raise InputError(f"images {tuple(tensor.shape)}: expected a cine [1, T, H, W], two images, or pairs [N, 2, *S]")
    if tensor.shape[0] == 1 and tensor.shape[1] < 2:
        raise InputError("the cine has only one frame; registration needs at least two")
    known = isinstance(images, MetaTensor) and "regions" in images.meta
    pairs = frame_pairs(tensor) if tensor.shape[0] == 1 else tensor
    return pairs, sector_mask(images)[None, None] if known else None  # type: ignore[arg-type]


def _pair_of(images: Sequence[Image]) -> Tensor:
    if len(images) != 2:
        raise InputError(f"{len(images)} images; expected two, (moving, fixed)")
    moving, fixed = images
    if isinstance(moving, MetaTensor) and isinstance(fixed, MetaTensor) and moving.dim() == fixed.dim() == 4:
        if moving.shape != fixed.shape or not np.allclose(moving.affine, fixed.affine, atol=1e-4):
            moving = ResampleToMatch(padding_mode="border")(moving, fixed)
    pair = [_to_tensor(image) for image in (moving, fixed)]
    pair = [image[0] if image.dim() == 4 and len(image) == 1 else image for image in pair]
    if pair[0].shape != pair[1].shape or pair[0].dim() not in (2, 3):
        shapes = " and ".join(str(tuple(image.shape)) for image in pair)
        raise InputError(f"images {shapes}: expected two of the same shape, [H, W] or [X, Y, Z]")
    scaled = [_check_unit_range(image) if image.dim() == 2 else _normalise_volume(image) for image in pair]
    return torch.stack(scaled)[None]


def _to_tensor(image: Image) -> Tensor:
    tensor = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(np.asarray(image))
    if tensor.is_complex() or not torch.isfinite(tensor).all():
        raise InputError("images: contain values that are complex or not finite")
    return tensor / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _check_unit_range(image: Tensor) -> Tensor:
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise InputError(f"images: values from {low:g} to {high:g}; expected [0, 1], or uint8")
    return image


def _normalise_volume(image: Tensor) -> Tensor:
    return torch.from_numpy(normalise(image.numpy()))
