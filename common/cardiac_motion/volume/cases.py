"""Input volumes of one bundle run, as cases resampled to the atlases' grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from cardiac_motion.core.datalist import case_name, check_one_source, complete_entries, read_datalist
from cardiac_motion.core.errors import InputError, unwrap_errors
from cardiac_motion.core.folders import is_finished
from cardiac_motion.volume.transforms import volume_transforms
from cardiac_motion.volume.volume_case import VolumeCase


def task04(dataset_dir: str | Path, download: bool = False) -> Path:
    """Return the folder of Task04_Hippocampus (with ``imagesTr``, ``labelsTr``): ``dataset_dir`` or its subfolder.

    Args:
        dataset_dir: folder that contains the data set, or to which it is downloaded.
        download: download the data set from the Medical Segmentation Decathlon's server if it is missing (28 MB; CC
            BY-SA 4.0).

    Raises:
        InputError: the download failed.

    Examples:
        >>> str(task04("data"))  # where there is no subfolder of that name
        'data'
    """
    here = Path(dataset_dir)
    inside = here / "Task04_Hippocampus"
    if download and not ((here / "imagesTr").is_dir() or inside.is_dir()):
        from monai.apps import DecathlonDataset

        here.mkdir(parents=True, exist_ok=True)
        try:
            DecathlonDataset(str(here), "Task04_Hippocampus", "training", download=True, cache_num=0)
        except Exception as error:
            raise InputError(f"{here}: Task04_Hippocampus cannot be downloaded ({error})") from error
    return inside if inside.is_dir() else here


class VolumeCases(Dataset[VolumeCase]):
    """Data set of volumes resampled to the common grid.

    Args:
        input: path of one volume; with neither ``input`` nor ``datalist``, three synthetic volumes
            (``volume.phantom``) whose shapes differ from those of the synthetic atlases.
        label: path of the label map of ``input``, optional.
        datalist, fold, dataset_dir: list of volumes in the decathlon's format, its fold, and the folder of its paths.
        download: download Task04_Hippocampus into ``dataset_dir`` if it is missing.
        done_dir: skip cases whose results are already in this folder.
        transform: maps an entry to its case; None is ``transforms.volume_transforms()``.
        data: entries in the datalist's format (``image``, …), instead of ``input`` and ``datalist``.
    """

    def __init__(
        self,
        input: str | None = None,
        label: str | None = None,
        datalist: str | None = None,
        fold: str = "validation",
        dataset_dir: str = ".",
        download: bool = False,
        done_dir: str | None = None,
        transform: Callable[[dict[str, Any]], VolumeCase] | None = None,
        data: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.transform = transform or volume_transforms()
        check_one_source(input, datalist, data)
        if data is not None:
            self.entries = complete_entries(data, dataset_dir)
        elif datalist:
            self.entries = read_datalist(datalist, fold, task04(dataset_dir, download))
        elif input:
            self.entries = [{"image": str(input), "case": case_name(input), **({"label": label} if label else {})}]
        else:
            self.entries = phantom_entries("target", 3)
        if done_dir is not None:
            self.entries = [entry for entry in self.entries if not is_finished(done_dir, entry)]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> VolumeCase:
        """Return the case of entry ``index``.

        Raises:
            InputError: the volume or its label cannot be used; the message names the file.
        """
        with unwrap_errors():
            return self.transform(self.entries[index])


def phantom_entries(name: str, count: int) -> list[dict[str, Any]]:
    """Return entries of ``count`` synthetic volumes; each ``name`` yields a different set.

    Examples:
        >>> phantom_entries("target", 1)
        [{'case': 'synthetic_target_0', 'image': 'synthetic_target_0', 'phantom': 647000}]
    """
    first = sum(map(ord, name)) * 1000
    cases = [f"synthetic_{name}_{i}" for i in range(count)]
    return [{"case": case, "image": case, "phantom": first + i} for i, case in enumerate(cases)]
