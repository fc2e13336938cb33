"""Map transforms that turn an entry of a list into a case: the ``preprocessing`` of a bundle that registers cines.

Each transform takes and returns the dictionary of an entry. ``ReadCined`` adds ``cine`` ``[1, T, H, W]`` (a MetaTensor
in [0, 1] whose meta has the file's calibration), the others ``mask`` ``[1 or N, 1, H, W]`` bool and ``image`` ``[N, 2,
H, W]`` (moving, fixed), and ``ToCineCase`` returns a ``CineCase``. MONAI's own transforms can be inserted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureTyped, MapTransform, Transform

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.labels import read_labels, read_mask
from cardiac_motion.cine.read import frame_pairs, read_cine, read_two_frames
from cardiac_motion.cine.scale import replace_frame_rate, resample_square
from cardiac_motion.cine.sector import sector_hull, sector_mask
from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.blood_pool import check_pool
from cardiac_motion.ventricle.contours import blood_pool_masks

MIN_SIZE = 21  # pixels: width of the window of the local correlation that evaluates every method

Item = Mapping[Any, Any]  # an entry's keys are str; MONAI's type is Any


class ReadCined(MapTransform):
    """Read the file of an entry with its calibration, as ``cine``.

    For an entry with ``es_image``, ``image`` is one frame at end-diastole, and the cine consists of these two frames.

    Args:
        max_frames: maximum number of frames, from the first; 0 reads all.
        keys: key of the path.

    Raises:
        InputError: the cine cannot be used.
    """

    def __init__(self, max_frames: int = 0, keys: str = "image") -> None:
        super().__init__(keys)
        if not isinstance(max_frames, int) or max_frames < 0:
            raise InputError(f"max_frames {max_frames}: expected a whole number, 0 for all frames")
        self.max_frames = max_frames

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        path, spacing = item[self.keys[0]], item.get("spacing")
        if "es_image" in item:
            cine = read_two_frames(path, item["es_image"], spacing)
        else:
            cine = read_cine(item.get("files", path), spacing)
        if item.get("frame_rate") is not None:
            cine.meta.update(replace_frame_rate(cine.meta, float(item["frame_rate"]), cine.shape[1]))
        if min(cine.shape[2:]) < MIN_SIZE:
            raise InputError(
                f"{path}: frames of {cine.shape[3]} × {cine.shape[2]} pixels are too small; measuring motion needs at "
                f"least {MIN_SIZE} × {MIN_SIZE}"
            )
        if self.max_frames:
            times = cine.meta["frame_times"]
            cine = MetaTensor(cine[:, : max(self.max_frames, 2)], meta=cine.meta)
            cine.meta["frame_times"] = times and times[: cine.shape[1]]
        return {**item, "entry": CineEntry.from_dict(item), "cine": cine, "cut": bool(self.max_frames)}


class GreyScaled(MapTransform):
    """Reject colour Doppler.

    Raises:
        InputError: the cine is colour Doppler.
    """

    def __init__(self, keys: str = "cine") -> None:
        super().__init__(keys)

    def __call__(self, data: Item) -> dict[Any, Any]:
        if data[self.keys[0]].meta["colour_flow"]:
            raise InputError(f"{data['image']}: colour Doppler; strain can only be measured in grey-scale cines")
        return dict(data)


class SquarePixelsd(MapTransform):
    """Resample cines with non-square pixels to square ones (``cardiac_motion.cine.scale.resample_square``)."""

    def __init__(self, keys: str = "cine") -> None:
        super().__init__(keys)

    def __call__(self, data: Item) -> dict[Any, Any]:
        return {**data, **{key: resample_square(data[key]) for key in self.keys}}


class SectorMaskd(MapTransform):
    """Add the ultrasound sector of a cine, as ``mask [1, 1, H, W]``: the region to register.

    Args:
        still: include the whole sector if more than a fifth of the echo is static (``sector_mask``). Networks only
            see the mask's bounding box, which next to static tissue would be little more than the wall.
        keys: key of the cine.
    """

    def __init__(self, still: bool = False, keys: str = "cine") -> None:
        super().__init__(keys)
        self.still = still

    def __call__(self, data: Item) -> dict[Any, Any]:
        return {**data, "mask": sector_mask(data[self.keys[0]], still=self.still)[None, None]}


class FramePairsd(MapTransform):
    """Add the pairs of neighbouring frames, as ``image [N, 2, H, W]``: frame t (moving), frame t + 1 (fixed)."""

    def __init__(self, keys: str = "cine") -> None:
        super().__init__(keys)

    def __call__(self, data: Item) -> dict[Any, Any]:
        return {**data, "image": frame_pairs(data[self.keys[0]].as_tensor())}


class BloodPoold(MapTransform):
    """Restrict the pairs and their mask to blood if the entry defines it, and add ``blood_mask [T, H, W]``.

    As in NMSR section 3. An entry has either ``blood_mask``, a label map (X, Y, T) of all frames, 1 is blood, or
    masks of the cavity (image or NIfTI, X × Y), ``ed_mask`` and ``es_mask``, at the frames ``ed`` and ``es``.

    Raises:
        InputError: one of these four is missing, or a mask's size differs from the frames'.
    """

    def __init__(self, keys: str = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        blood = _pool(item, item["cine"])
        if blood is None:
            return item
        pairs = torch.stack([blood[:-1], blood[1:]], 1)
        return {**item, **{key: item[key] * pairs for key in self.keys}, "mask": blood[1:, None], "blood_mask": blood}


def _pool(item: dict[Any, Any], cine: MetaTensor) -> torch.Tensor | None:
    if "blood_mask" in item:
        labels = read_labels(item["blood_mask"])
        labels = labels[..., None] if labels.ndim == 2 else labels
        blood = torch.from_numpy(np.ascontiguousarray(labels.transpose(2, 1, 0)) == 1)
        blood = blood[: cine.shape[1]] if item["cut"] else blood
        check_pool(blood, cine.shape[2:], cine.shape[1], sector_hull(cine), str(item["blood_mask"]))
        return blood
    if "ed_mask" not in item and "es_mask" not in item:
        return None
    missing = [name for name in ("ed", "es", "ed_mask", "es_mask") if name not in item]
    if missing:
        path = item["entry"].image
        raise InputError(f"{path}: tracking blood needs ed, es, ed_mask and es_mask; missing: {', '.join(missing)}")
    masks = {name: read_mask(item[name]) for name in ("ed_mask", "es_mask")}
    for name, mask in masks.items():
        if mask.shape != tuple(cine.shape[2:]):
            actual, expected = (f"{size[1]} × {size[0]} pixels" for size in (mask.shape, cine.shape[2:]))
            raise InputError(f"{item[name]}: the mask has {actual}, the frames {expected}")
    return blood_pool_masks(masks["ed_mask"], masks["es_mask"], int(item["ed"]), int(item["es"]), cine.shape[1])


def mask_pool(case: CineCase, blood_mask: torch.Tensor) -> CineCase:
    """Restrict the registration of a cine to blood: everything else is black in its pairs (NMSR section 3).

    Args:
        case: the cine.
        blood_mask: ``[T, H, W]`` bool.
    """
    image = case.image * torch.stack([blood_mask[:-1], blood_mask[1:]], 1)
    return replace(case, image=image, mask=blood_mask[1:, None], blood_mask=blood_mask)


class ToCineCase(Transform):
    """Build the typed case; last transform of the chain."""

    def __call__(self, data: Item) -> CineCase:
        pool = data.get("blood_mask")
        blood = pool if isinstance(pool, torch.Tensor) else None
        return CineCase(data["entry"], data["image"], data.get("mask"), data["cine"], blood)


def cine_transforms(max_frames: int = 0, square: bool = False, grey: bool = False, still: bool = False) -> Compose:
    """Return the ``preprocessing`` of the bundles that register cines.

    Args:
        max_frames: as in ``ReadCined``.
        square: include ``SquarePixelsd``.
        grey: include ``GreyScaled``.
        still: as in ``SectorMaskd``.

    Examples:
        >>> [type(step).__name__ for step in cine_transforms().transforms]
        ['ReadCined', 'SectorMaskd', 'FramePairsd', 'BloodPoold', 'ToCineCase']
    """
    before = [ReadCined(max_frames), *([GreyScaled()] if grey else []), *([SquarePixelsd()] if square else [])]
    return Compose([*before, SectorMaskd(still), FramePairsd(), BloodPoold(), ToCineCase()])


def field_transforms() -> Compose:
    """Return the ``postprocessing`` of the same bundles: the fields ``pred`` in float32 on the CPU.

    Examples:
        >>> field_transforms()({"pred": torch.zeros(1, 2, 4, 4, dtype=torch.float64)})["pred"].dtype
        torch.float32
    """
    return Compose([EnsureTyped("pred", device=torch.device("cpu"), dtype=torch.float32, track_meta=False)])
