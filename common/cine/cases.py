"""Data sets of cases: what one bundle run goes through, one cine (or one file) at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from pydicom import examples
from torch.utils.data import Dataset

from common.cine.folder import IMAGE_SUFFIXES
from common.cine.read import CINE_SUFFIXES, frame_pairs, read_cine
from common.cine.scale import squared
from common.cine.sector import sector_mask
from common.cine.study import StudyCine, cines_of, is_dicomdir, listing
from common.core.arrays import NEARLY_WHOLE, load_nifti
from common.core.errors import InputError
from common.ventricle.contours import blood_pool_masks

SUFFIXES = (".igs.mha", ".igs.mhd", ".seq.nrrd", *CINE_SUFFIXES)
LEAST_SIZE = 21  # pixels: the window of the local correlation that every method is measured by


def demo_cine() -> str:
    """Path of the apical four-chamber cine (DICOM, 30 frames) that ships with pydicom."""
    return str(examples.get_path("ybr_color"))


def case_name(path: str | Path) -> str:
    """The file's name without its format: ``a/b.nii.gz`` is ``b``."""
    name = Path(path).name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_datalist(path: str | Path, fold: str, dataset_dir: str | Path = ".") -> list[dict[str, Any]]:
    """One fold of a datalist in the decathlon's JSON format.

    Args:
        path: of the datalist: ``{"training": [{"image": …}, …], "validation": […], "test": […]}``.
        fold: which of its lists.
        dataset_dir: folder that relative paths start from.

    Returns:
        The entries, each with a ``case`` and with absolute or ``dataset_dir``-joined paths for ``image``, ``label`` and
        what else ends in a name of a file (``*_mask``, ``*_image``).

    Raises:
        InputError: no such file or fold, or not of this format, or two cases of one name.
    """
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON datalist ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get(fold), list):
        folds = [k for k, v in content.items() if isinstance(v, list)] if isinstance(content, dict) else []
        raise InputError(f"{path}: has no list '{fold}' (it has: {', '.join(folds) or 'none'})")
    entries = []
    for item in content[fold]:
        entry = {"image": item} if isinstance(item, str) else dict(item)
        if "image" not in entry:
            raise InputError(f"{path}: an entry of '{fold}' has no 'image': {item}")
        for key, value in entry.items():
            if isinstance(value, str) and (key in ("image", "label") or key.endswith(("_mask", "_image"))):
                entry[key] = str(Path(dataset_dir) / value)
        entry.setdefault("case", case_name(entry["image"]))
        entries.append(entry)
    names = [entry["case"] for entry in entries]
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise InputError(f"{path}: '{fold}' names a case twice: {', '.join(twice[:3])}")
    if not entries:
        raise InputError(f"{path}: the list '{fold}' is empty")
    return entries


class CineCases(Dataset):
    """Cines as cases: all frame pairs of each, with the mask to register in.

    Args:
        input: a file or a folder of images, a study folder or a DICOMDIR, whose cines are all taken, or a list of
            these; None with no datalist is the cine that ships with pydicom.
        datalist, fold, dataset_dir: a list of cines instead (``read_datalist``). An entry may carry ``spacing``, and
            ``ed``, ``es``, ``ed_mask``, ``es_mask`` for blood; with ``es_image`` its ``image`` is one frame at
            end-diastole, and the cine these two frames.
        spacing: (row, column) in mm/px, over what the files say.
        ed_mask, es_mask, ed, es: LV cavity masks (a picture or NIfTI, X × Y) at those frames: blood is tracked, with
            the myocardium removed (NMSR section 3).
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
        frames: int = 0,
        square: bool = False,
    ) -> None:
        given = {"spacing": spacing, "ed_mask": ed_mask, "es_mask": es_mask, "ed": ed, "es": es}
        if datalist and input:
            raise InputError(f"both an input ({input}) and a datalist ({datalist}) are given: one of them")
        if datalist:
            entries = read_datalist(datalist, fold, dataset_dir)
        else:
            paths = [input] if isinstance(input, str) else list(input or [demo_cine()])
            entries = [entry for path in paths for entry in cine_entries(path)]
            names = [entry["case"] for entry in entries]
            if len(set(names)) < len(names):
                raise InputError(f"{', '.join(map(str, paths))}: two cines of one name; their results need two folders")
        self.entries = [{**{k: v for k, v in given.items() if v is not None}, **entry} for entry in entries]
        self.frames, self.square = frames, square

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One case: ``image [N, 2, H, W]``, ``mask [1 or N, 1, H, W]`` bool, ``cine [1, T, H, W]``, ``case``.

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
        mask = sector_mask(cine)[None, None]
        image = frame_pairs(cine.as_tensor())
        if "ed_mask" in entry or "es_mask" in entry:
            blood = self._blood(entry, cine.shape[1])
            if blood.shape[1:] != cine.shape[2:]:
                raise InputError(
                    f"{entry['ed_mask']}: the mask is {tuple(blood.shape[1:])}, the frames are {tuple(cine.shape[2:])}"
                )
            image = image * torch.stack([blood[:-1], blood[1:]], 1)
            mask = blood[1:, None]
        return {"case": entry["case"], "image": image, "mask": mask, "cine": cine, "entry": entry}

    @staticmethod
    def _blood(entry: dict[str, Any], frames: int) -> torch.Tensor:
        missing = [k for k in ("ed", "es", "ed_mask", "es_mask") if k not in entry]
        if missing:
            raise InputError(
                f"{entry['image']}: blood needs ed, es, ed_mask and es_mask; missing: {', '.join(missing)}"
            )
        ed_mask, es_mask = read_mask(entry["ed_mask"]), read_mask(entry["es_mask"])
        return torch.as_tensor(blood_pool_masks(ed_mask, es_mask, int(entry["ed"]), int(entry["es"]), frames))


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
    meta = {
        "spacing": own,
        "aspect": own[0] / own[1],
        "frame_times": None,
        "times_are": "acquired",
        "regions": [],
        "source": str(first),
        "notes": notes,
    }
    return MetaTensor(torch.stack(frames)[None], meta=meta)


def read_mask(path: str | Path) -> np.ndarray:
    """A 2D mask ``[H, W]`` bool from a NIfTI (X, Y) or a picture: everything above 0 (of a label map: label 1).

    Raises:
        InputError: it can't be read or isn't 2D.
    """
    try:
        if str(path).endswith((".nii", ".nii.gz")):
            values = np.squeeze(load_nifti(path)[1]).T
        else:
            import imageio.v3 as iio

            values = np.asarray(iio.imread(path))
            values = values[..., 0] if values.ndim == 3 else values
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: no readable mask ({error})") from error
    if values.ndim != 2:
        raise InputError(f"{path}: a mask is 2D, this is {values.shape}")
    values = np.round(values) if np.abs(values - np.round(values)).max() <= NEARLY_WHOLE else values
    labels = np.unique(values[values > 0])
    return values == 1 if len(labels) > 1 and labels[0] == 1 else values > 0
