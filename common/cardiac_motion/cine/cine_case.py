"""A cine as a case: its frames, its metadata, and the frame pairs to register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from monai.data import MetaTensor
from torch import Tensor

from cardiac_motion.cine.scale import file_size
from cardiac_motion.core.entry import Case, Entry


@dataclass(frozen=True)
class CineMeta:
    """Metadata of a cine (``cardiac_motion.cine.read`` describes their origin).

    Attributes:
        source: path of the file.
        spacing: (row, column) in mm/px; None if unknown.
        aspect: ratio of a pixel's height to its width.
        zoom: (row, column) pixels per pixel of the file, after resampling to square pixels.
        crop: (top, left, bottom, right) of the part of the file's frames that was read; None for all.
        frame_times: times in s, from 0; None if unknown.
        frame_time_source: ``acquired``, or ``playback`` for times at which the file is to be displayed.
        r_waves: times of R waves in s; None if there are none.
        regions: regions of a DICOM ultrasound image, one dictionary each.
        colour_flow: whether the cine is colour Doppler.
        notes: sentences about missing or inconsistent metadata.

    Examples:
        >>> CineMeta("a4c.dcm", spacing=(0.3, 0.4)).steps, CineMeta("a4c.gif", aspect=1.5).steps
        ((0.3, 0.4), (1.5, 1.0))
    """

    source: str
    spacing: tuple[float, float] | None = None
    aspect: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)
    crop: tuple[int, int, int, int] | None = None
    frame_times: Sequence[float] | None = None
    frame_time_source: str | None = None
    r_waves: Sequence[float] | None = None
    regions: Sequence[Mapping[str, Any]] = ()
    colour_flow: bool = False
    notes: Sequence[str] = ()

    @property
    def steps(self) -> tuple[float, float]:
        """Pixel size (row, column): in mm if the spacing is known, otherwise in pixel widths."""
        return self.spacing or (self.aspect, 1.0)

    @classmethod
    def from_cine(cls, cine: MetaTensor) -> CineMeta:
        """Return the metadata in ``cine.meta``."""
        known = {field.name for field in fields(cls)}
        return cls(**{"source": "", **{key: value for key, value in cine.meta.items() if key in known}})


@dataclass(frozen=True)
class CineEntry(Entry):
    """Entry of a list of cines.

    Attributes:
        files: one file per frame, if ``image`` is the first of several.
        es_image: frame at end-systole, if ``image`` is the one at end-diastole.
        spacing: (row, column) in mm/px; overrides the files'.
        frame_rate: frames/s; overrides the file's.
        ed, es: frames of end-diastole and end-systole.
        ed_mask, es_mask: masks of the cavity at those frames.
        contour: file with the endocardium or the wall as drawn by the user.
        assumed_view: apical view according to the user.
        blood_mask: label map of the blood in every frame, (X, Y, T), 1 is blood.

    Examples:
        >>> entry = CineEntry.from_dict({"case": "a4c", "image": "a4c.dcm", "ed": 0, "es": 12, "sex": "f"})
        >>> entry.es, entry.spacing, entry.further
        (12, None, {'sex': 'f'})
    """

    files: Sequence[str] | None = None
    es_image: str | None = None
    spacing: Sequence[float] | float | None = None
    frame_rate: float | None = None
    ed: int | None = None
    es: int | None = None
    ed_mask: str | None = None
    es_mask: str | None = None
    contour: str | None = None
    assumed_view: str | None = None
    blood_mask: str | None = None


@dataclass(frozen=True, eq=False)
class CineCase(Case):
    """A cine and its frame pairs.

    Attributes:
        cine: ``[1, T, H, W]`` in [0, 1]; pair t of ``image`` is its frames t (moving) and t + 1 (fixed).
        blood_mask: ``[T, H, W]`` bool, the blood in each frame, if only blood is registered; otherwise None.

    Examples:
        >>> import torch
        >>> cine = MetaTensor(torch.rand(1, 3, 32, 40), meta={"spacing": (0.5, 0.5)})
        >>> pairs = torch.stack([cine[0, :-1], cine[0, 1:]], 1)
        >>> case = CineCase(CineEntry("a4c", "a4c.nii"), pairs, None, cine)
        >>> case.name, case.size, case.meta.steps, sorted(case)
        ('a4c', (32, 40), (0.5, 0.5), ['case', 'cine', 'entry', 'image'])
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Case.KEYS, "cine": "cine"}

    entry: CineEntry
    cine: MetaTensor
    blood_mask: Tensor | None = None

    @property
    def meta(self) -> CineMeta:
        """Metadata of the cine."""
        return CineMeta.from_cine(self.cine)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame in pixels."""
        return self.cine.shape[2], self.cine.shape[3]

    @property
    def file_size(self) -> tuple[int, int]:
        """Height and width of a frame of the file, before resampling."""
        return file_size(self.cine, self.cine.meta)
