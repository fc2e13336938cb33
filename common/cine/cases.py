"""Data sets of cases: what one bundle run goes through, one cine (or one file) at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from pydicom import examples
from torch.utils.data import Dataset

from common.cine.case import CineCase
from common.cine.folder import IMAGE_SUFFIXES
from common.cine.labels import read_labels, read_mask
from common.cine.read import frame_pairs, read_cine
from common.cine.scale import squared
from common.cine.sector import sector_mask, seen_area
from common.cine.study import StudyCine, cines_of, is_dicomdir, listing
from common.core.case import Entry
from common.core.datalist import case_name, read_datalist
from common.core.errors import InputError
from common.core.stored import load_nifti
from common.flow.pool import check_pool
from common.ventricle.contours import blood_pool_masks

LEAST_SIZE = 21  # pixels: the window of the local correlation that every method is measured by


def demo_cine() -> str:
    """Path of the apical four-chamber cine (DICOM, 30 frames) that ships with pydicom."""
    return str(examples.get_path("ybr_color"))


class CineCases(Dataset):
    """Cines as cases: all frame pairs of each, with the mask to register in.

    Args:
        input: a file or a folder of images, a study folder or a DICOMDIR, whose cines are all taken, or a list of
            these; None with no datalist is the cine that ships with pydicom.
        datalist, fold, dataset_dir: a list of cines instead (``read_datalist``). An entry may carry ``spacing``, and
            ``ed``, ``es``, ``ed_mask``, ``es_mask`` or ``pool`` for blood; with ``es_image`` its ``image`` is one frame
            at end-diastole, and the cine these two frames.
        spacing: (row, column) in mm/px, over what the files say.
        ed_mask, es_mask, ed, es: LV cavity masks (a picture or NIfTI, X × Y) at those frames: blood is tracked, with
            the myocardium removed (NMSR section 3).
        pool: or a label map (X, Y, T) of all frames, 1 is blood.
        frames: read so many frames at most, from the first; 0 reads all.
        square: bring cines whose pixels aren't square to square ones (``scale.squared``).
    """

    def __init__(
        self,
        input: str | Sequence[str] | None = None,
        datalist: str | None = None,
        fold: str = "test",
        dataset_dir: str = ".",
        spacing: Sequence[float] | float | None = None,
        ed_mask: str | None = None,
        es_mask: str | None = None,
        ed: int | None = None,
        es: int | None = None,
        pool: str | None = None,
        frames: int = 0,
        square: bool = False,
    ) -> None:
        given = {"spacing": spacing, "ed_mask": ed_mask, "es_mask": es_mask, "ed": ed, "es": es, "pool": pool}
        if datalist and input:
            raise InputError(f"both an input ({input}) and a datalist ({datalist}) are given: one of them")
        if datalist:
            entries = read_datalist(datalist, fold, dataset_dir)
        else:
            paths = [input] if isinstance(input, str) else list(input or [demo_cine()])
            entries = [entry for path in paths for entry in cine_entries(path)]
        self.entries = [{**{k: v for k, v in given.items() if v is not None}, **entry} for entry in entries]
        self.frames, self.square = frames, square

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> CineCase:
        """One case: ``image [N, 2, H, W]``, ``mask [1 or N, 1, H, W]`` bool, ``cine [1, T, H, W]``.

        Raises:
            InputError: the cine, or a mask, can't be used.
        """
        entry = self.entries[index]
        if "es_image" in entry:
            cine = two_frames(entry["image"], entry["es_image"], entry.get("spacing"))
        else:
            cine = read_cine(entry.get("files", entry["image"]), entry.get("spacing"))
        if min(cine.shape[2:]) < LEAST_SIZE:
            raise InputError(
                f"{entry['image']}: frames of {cine.shape[3]} × {cine.shape[2]} pixels; motion is measured from "
                f"{LEAST_SIZE} × {LEAST_SIZE} on"
            )
        cine = squared(cine) if self.square else cine
        if self.frames:
            times = cine.meta["frame_times"]
            cine = MetaTensor(cine[:, : max(self.frames, 2)], meta=cine.meta)
            cine.meta["frame_times"] = times and times[: cine.shape[1]]
        case = CineCase(Entry.of(entry), frame_pairs(cine.as_tensor()), sector_mask(cine)[None, None], cine)
        blood = self._pool(entry, cine)
        return case if blood is None else in_pool(case, blood)

    def _pool(self, entry: dict[str, Any], cine: MetaTensor) -> torch.Tensor | None:
        if "pool" in entry:
            labels = read_labels(entry["pool"])
            labels = labels[..., None] if labels.ndim == 2 else labels
            blood = torch.from_numpy(np.ascontiguousarray(labels.transpose(2, 1, 0)) == 1)
            blood = blood[: cine.shape[1]] if self.frames else blood
            check_pool(blood, cine.shape[2:], cine.shape[1], seen_area(cine), str(entry["pool"]))
            return blood
        if "ed_mask" not in entry and "es_mask" not in entry:
            return None
        blood = self._blood(entry, cine.shape[1])
        if blood.shape[1:] != cine.shape[2:]:
            raise InputError(
                f"{entry['ed_mask']}: the mask is {tuple(blood.shape[1:])}, the frames are {tuple(cine.shape[2:])}"
            )
        return blood

    @staticmethod
    def _blood(entry: dict[str, Any], frames: int) -> torch.Tensor:
        missing = [k for k in ("ed", "es", "ed_mask", "es_mask") if k not in entry]
        if missing:
            raise InputError(
                f"{entry['image']}: blood needs ed, es, ed_mask and es_mask; missing: {', '.join(missing)}"
            )
        ed_mask, es_mask = read_mask(entry["ed_mask"]), read_mask(entry["es_mask"])
        return torch.as_tensor(blood_pool_masks(ed_mask, es_mask, int(entry["ed"]), int(entry["es"]), frames))


def in_pool(case: CineCase, pool: torch.Tensor) -> CineCase:
    """A cine of which the blood alone is registered: all else is black in its pairs (NMSR section 3).

    Args:
        case: the cine.
        pool: ``[T, H, W]`` bool.
    """
    image = case.image * torch.stack([pool[:-1], pool[1:]], 1)
    return replace(case, image=image, mask=pool[1:, None], pool=pool)


def cine_entries(path: str | Path) -> list[dict[str, Any]]:
    """Entries of all cines of a path: a file's or a folder of images' own, or those of a study, which are listed.

    Raises:
        InputError: a study without a cine.
    """
    place = Path(path)
    pictures = place.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in place.iterdir())
    if pictures or not (place.is_dir() or is_dicomdir(place)):
        return [{"image": str(path), "case": case_name(path)}]
    found = cines_of(place)
    print(f"{path}: {len(found)} cine{'s' if len(found) > 1 else ''}\n{listing(found)}")
    return [_entry(cine) for cine in found]


def _entry(cine: StudyCine) -> dict[str, Any]:
    entry: dict[str, Any] = {"image": str(cine.files[0]), "case": cine.name}
    return entry if len(cine.files) == 1 else {**entry, "files": [str(file) for file in cine.files]}


def two_frames(first: str | Path, last: str | Path, spacing: Sequence[float] | float | None = None) -> MetaTensor:
    """A cine ``[1, 2, H, W]`` of two stored frames, NIfTI (X, Y) of one size and scale, bytes or unit range.

    Raises:
        InputError: a file can't be read, isn't one frame, or they differ in size.
    """
    frames, steps = [], []
    for path in (first, last):
        try:
            stored, values = load_nifti(path)
            values = np.squeeze(values.astype(np.float32)).T
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: no readable frame ({error})") from error
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(f"{path}: expected one frame (X, Y) of finite values, this is {values.shape[::-1]}")
        frames.append(torch.from_numpy(values / (255 if values.max() > 1 else 1)))
        steps.append(tuple(float(step) for step in stored.header.get_zooms()[1::-1]))
    if frames[0].shape != frames[1].shape:
        raise InputError(f"{last}: {tuple(frames[1].shape)}, the frame at end-diastole is {tuple(frames[0].shape)}")
    own = (spacing,) * 2 if isinstance(spacing, int | float) else tuple(spacing or steps[0])
    notes = ["Two frames, end-diastole and end-systole, registered directly."]
    meta: dict[str, Any] = {"spacing": own, "aspect": own[0] / own[1], "frame_times": None, "times_are": "acquired"}
    meta |= {"regions": [], "r_waves": None, "colour_flow": False, "source": str(first), "notes": notes}
    return MetaTensor(torch.stack(frames)[None], meta=meta)
