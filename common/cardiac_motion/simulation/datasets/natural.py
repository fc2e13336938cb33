"""Natural images with known motion, for pre-training (Evain et al. 2022, sections II-B.3 and III-A.1).

Readers for FlyingChairs (Dosovitskiy et al. 2015, 10.1109/ICCV.2015.316) and FlyingThings3D (Mayer et al. 2016,
10.1109/CVPR.2016.438), and procedural pairs similar to FlyingChairs that need no download. Items are those of
``dataset``, in grey; ``spacing`` is NaN because pixels have no size in mm. Their optical flow is from the first image
to the second, so the first is the fixed image, the second the moving one, and the flow is the pull-back field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import numbers

_FLO_TAG = 202021.25
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def read_flo(path: str | Path) -> NDArray[np.float32]:
    """Read optical flow [2, H, W] in pixels (row, column) from a Middlebury ``.flo`` file.

    Raises:
        InputError: the file is missing, not a ``.flo`` file, or truncated.
    """
    content = _content(path)
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(_FLO_TAG):
        raise InputError(f"{path}: not a .flo file (its first number is not {_FLO_TAG})")
    width, height = (int(n) for n in np.frombuffer(content, "<i4", 2, 4))
    if width < 1 or height < 1 or len(content) != 12 + 8 * width * height:
        raise InputError(f"{path}: {len(content)} bytes do not match a flow of {height} × {width} pixels")
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)[..., ::-1].transpose(2, 0, 1).copy()


def read_pfm(path: str | Path) -> NDArray[np.float32]:
    """Read values [H, W, 1 or 3], first row on top, from a portable float map.

    Raises:
        InputError: the file is missing, not a ``.pfm`` file, or truncated.
    """
    content = _content(path)
    try:
        kind, size, scale, values = content.split(b"\n", 3)
        width, height = (int(n) for n in size.split())
        channels, order = {b"PF": 3, b"Pf": 1}[kind.strip()], "<f4" if float(scale) < 0 else ">f4"
        stored = np.frombuffer(values, order).reshape(height, width, channels)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a .pfm file ({error})") from None
    return np.ascontiguousarray(stored[::-1], dtype=np.float32)


class NaturalPairs(IterableDataset[dict[str, Tensor]]):
    """Pairs of a downloaded data set, in an order shuffled by seed and epoch, each once.

    Args:
        folder: folder of FlyingChairs (``*_img1.ppm``, ``*_img2.ppm``, ``*_flow.flo``) or of FlyingThings3D
            (``frames_cleanpass`` or ``frames_finalpass`` next to ``optical_flow``); detected automatically.
        shape: size of a random crop (rows, columns); None uses whole images.
        max_displacement: maximum displacement in the crop, pixels; pairs with a larger one are skipped (the paper
            removes those "too large for what can be expected in echocardiography").
        seed: seed of order and crops.

    Raises:
        InputError: no pairs are found, a file is damaged, or sizes differ.
    """

    def __init__(
        self,
        folder: str | Path,
        shape: tuple[int, int] | None = None,
        max_displacement: float = math.inf,
        seed: int = 0,
    ) -> None:
        folder = Path(folder)
        self._triples = list(_flying_chairs(folder)) or list(_flying_things(folder))
        if not self._triples:
            raise InputError(f"{folder}: has no pairs of FlyingChairs (*_flow.flo) or FlyingThings3D (optical_flow)")
        self._shape, self._limit, self._seed, self._epoch = shape, max_displacement, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Use another order and other crops from the next iteration on."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of pairs, including those skipped for their displacement."""
        return len(self._triples)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._triples))
        for number in numbers(len(order)):
            item = self.pair(int(order[number]))
            if item["ddf"].norm(dim=0).max() <= self._limit:
                yield item

    def pair(self, index: int) -> dict[str, Tensor]:
        """Return a pair by its index in the order of the files, whatever its displacement."""
        first, second, flow_file = self._triples[index]
        fixed, moving = _grey(first), _grey(second)
        if flow_file.suffix == ".flo":
            flow = read_flo(flow_file)
        else:
            flow = np.ascontiguousarray(read_pfm(flow_file)[..., 1::-1].transpose(2, 0, 1))
        if not fixed.shape == moving.shape == flow.shape[1:]:
            raise InputError(
                f"{flow_file}: sizes of the flow {flow.shape[1:]} and the images {fixed.shape}, {moving.shape} differ"
            )
        whole = _item(torch.from_numpy(np.stack([moving, fixed])), torch.from_numpy(flow))
        if self._shape is None:
            return whole
        rng = np.random.default_rng([self._seed, self._epoch, index, 1])
        room = [n - s for n, s in zip(fixed.shape, self._shape, strict=True)]
        if min(room) < 0:
            raise InputError(f"{first}: size {fixed.shape} is smaller than the crop {tuple(self._shape)}")
        top, left = (int(rng.integers(r + 1)) for r in room)
        crop = (..., slice(top, top + self._shape[0]), slice(left, left + self._shape[1]))
        return _item(whole["image"][crop], whole["ddf"][crop])


class ProceduralPairs(IterableDataset[dict[str, Tensor]]):
    """Textured shapes on a textured background, each with its own affine motion; endless unless ``length`` is given.

    Args:
        shape: (rows, columns).
        displacement: standard deviation of a shape's shift, pixels.
        shapes: minimum and maximum number of shapes.
        seed: seed of all random numbers.
        length: pairs per epoch.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (256, 256),
        displacement: float = 4.0,
        shapes: tuple[int, int] = (6, 16),
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        self._shape, self._displacement, self._shapes = (int(shape[0]), int(shape[1])), displacement, shapes
        self._seed, self._epoch, self._length = seed, 0, length

    def set_epoch(self, epoch: int) -> None:
        """Draw other pairs from the next iteration on."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in numbers(self._length):
            yield self.pair(number)

    def pair(self, number: int) -> dict[str, Tensor]:
        """Return a numbered pair; the mask excludes pixels that are hidden in the moving image or leave it."""
        rng = np.random.default_rng([self._seed, self._epoch, number])
        height, width = self._shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack([rows, columns], dim=-1).double()
        layers = [_Layer(rng, self._shape, self._displacement, ground=True)]
        layers += [
            _Layer(rng, self._shape, self._displacement) for _ in range(int(rng.integers(*self._shapes, endpoint=True)))
        ]
        fixed, fixed_top = _paint_layers(layers, grid, moved=False)
        moving, moving_top = _paint_layers(layers, grid, moved=True)
        ddf = torch.zeros(2, height, width, dtype=torch.float64)
        for index, layer in enumerate(layers):
            ddf = torch.where(fixed_top == index, (layer.forward(grid) - grid).movedim(-1, 0), ddf)
        target = (grid + ddf.movedim(0, -1)).round().long()
        inside = ((target >= 0) & (target < torch.tensor(self._shape))).all(-1)
        target = torch.minimum(target.clamp_min(0), torch.tensor(self._shape) - 1)
        visible = inside & (moving_top[target[..., 0], target[..., 1]] == fixed_top)
        item = _item(torch.stack([moving, fixed]).float(), ddf.float())
        item["mask"] = visible[None].float()
        return item


class _Layer:
    """Textured shape and its affine motion: texture coordinates of a point p are ``inverse_pose (p - centre)``."""

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, int], displacement: float, ground: bool = False
    ) -> None:
        self._ground = ground
        size = min(shape)
        self._centre: Tensor = torch.as_tensor(rng.uniform(0, 1, 2) * shape)
        self._radius = float(rng.uniform(0.06, 0.22) * size)
        harmonics = np.arange(2, 7)
        self._waves = rng.normal(0, 0.35, (2, len(harmonics))) / harmonics
        self._texture = _texture(rng, size)
        scale, turn = 1 + rng.normal(0, 0.02), rng.normal(0, 0.03)
        shear = rng.normal(0, 0.01, (2, 2))
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self._affine: Tensor = torch.as_tensor(scale * turned @ (np.eye(2) + shear))
        self._shift: Tensor = torch.as_tensor(rng.normal(0, displacement * (0.5 if ground else 1.0), 2))

    def forward(self, points: Tensor) -> Tensor:
        """Map points [..., 2] of the fixed image to the moving one."""
        return (points - self._centre) @ self._affine.T + self._centre + self._shift

    def _invert(self, points: Tensor) -> Tensor:
        back: Tensor = torch.linalg.inv(self._affine)
        return (points - self._centre - self._shift) @ back.T + self._centre

    def paint(self, grid: Tensor, moved: bool) -> tuple[Tensor, Tensor]:
        """Return grey values and opacity [H, W] of the layer in the fixed or in the moving image."""
        local = (self._invert(grid) if moved else grid) - self._centre
        where = (local / self._texture.shape[-1] * 2).flip(-1)[None].float()
        grey = functional.grid_sample(self._texture, where, padding_mode="reflection", align_corners=False)[0, 0]
        if self._ground:
            return grey, torch.ones_like(grey)
        angle, distance = torch.atan2(local[..., 1], local[..., 0]), local.norm(dim=-1)
        edge = torch.ones_like(angle)
        for k, (a, b) in zip(range(2, 7), self._waves.T, strict=True):
            edge = edge + a * torch.cos(k * angle) + b * torch.sin(k * angle)
        return grey, (self._radius * edge.clamp_min(0.2) - distance + 0.5).clamp(0, 1).float()


def _paint_layers(layers: Sequence[_Layer], grid: Tensor, moved: bool) -> tuple[Tensor, Tensor]:
    """Return the image [H, W] of stacked layers, and the index of the topmost at each pixel."""
    image = torch.zeros(grid.shape[:2])
    top = torch.zeros(grid.shape[:2], dtype=torch.long)
    for index, layer in enumerate(layers):
        grey, opacity = layer.paint(grid, moved)
        image = image * (1 - opacity) + grey * opacity
        top = torch.where(opacity > 0.5, index, top)
    return image, top


def _texture(rng: np.random.Generator, size: int) -> Tensor:
    """Return a square of noise in octaves, [1, 1, 2 size, 2 size] in [0, 1]."""
    total = torch.zeros(1, 1, 2 * size, 2 * size)
    for octave in (4, 12, 36, 100):
        noise = torch.as_tensor(rng.standard_normal((1, 1, octave, octave)), dtype=torch.float32)
        weight = float(rng.uniform(0.3, 1.0)) / octave**0.3
        total += weight * functional.interpolate(noise, size=total.shape[-2:], mode="bicubic", align_corners=False)
    level, contrast = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.25)
    return (level + contrast * total / total.std()).clamp(0, 1)


def _item(image: Tensor, ddf: Tensor) -> dict[str, Tensor]:
    height, width = ddf.shape[1:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([rows, columns]) + ddf
    inside = (target >= 0).all(0) & (target[0] <= height - 1) & (target[1] <= width - 1)
    return {"image": image, "ddf": ddf, "mask": inside[None].float(), "spacing": torch.full((2,), math.nan)}


def _flying_chairs(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    for flow in sorted(folder.rglob("*_flow.flo")):
        stem = flow.name.removesuffix("_flow.flo")
        yield flow.with_name(f"{stem}_img1.ppm"), flow.with_name(f"{stem}_img2.ppm"), flow


def _flying_things(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    flows = folder / "optical_flow"
    for flow in sorted(flows.rglob("OpticalFlowInto*.pfm")):
        _, number, _ = flow.stem.split("_")
        step = 1 if "IntoFuture" in flow.stem else -1
        scene, eye = flow.relative_to(flows).parents[2], flow.parent.name
        for render in ("frames_cleanpass", "frames_finalpass"):
            frames = folder / render / scene / eye
            first, second = (frames / f"{int(number) + k:0{len(number)}d}.png" for k in (0, step))
            if first.exists() and second.exists():
                yield first, second, flow


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _grey(path: Path) -> NDArray[np.float32]:
    try:
        image = np.asarray(imageio.imread(path), dtype=np.float32) / 255
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image ({type(error).__name__})") from None
    return np.asarray(image[..., :3] @ _GREY if image.ndim == 3 else image, dtype=np.float32)
