"""A cine as a case: its frames, what its file says of them, and the pairs to register."""

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
    """What is known of a cine beside its frames (``cardiac_motion.cine.read`` says where it comes from).

    Attributes:
        source: path.
        spacing: (row, column) in mm/px, None where it isn't known.
        aspect: a pixel's height over its width.
        zoom: (row, column) pixels for one of the file's, where they were brought to square ones.
        crop: (top, left, bottom, right) of what was kept of the file's frames; None is all.
        frame_times: s, from 0; None where they aren't known.
        frame_time_source: ``acquired``, or ``playback`` where the times are those at which the file is to be shown.
        r_waves: s, None where there are none.
        regions: of a DICOM ultrasound image, one dictionary each.
        colour_flow: whether it is colour Doppler.
        notes: sentences about what the file left open or contradicted.
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
        """(row, column) size of a pixel: mm where the spacing is known, else in widths of a pixel."""
        return self.spacing or (self.aspect, 1.0)

    @classmethod
    def from_cine(cls, cine: MetaTensor) -> CineMeta:
        """Of ``cine.meta``."""
        known = {field.name for field in fields(cls)}
        return cls(**{"source": "", **{key: value for key, value in cine.meta.items() if key in known}})


@dataclass(frozen=True)
class CineEntry(Entry):
    """A cine of a list.

    Attributes:
        files: one a frame, where ``image`` is the first of several.
        es_image: frame at end-systole, where ``image`` is the one at end-diastole.
        spacing: (row, column) in mm/px, over what the files say.
        frame_rate: frames/s, over what the file says.
        ed, es: frames of end-diastole and end-systole.
        ed_mask, es_mask: cavity at those.
        contour: of the endocardium or the wall, as the user draws it.
        assumed_view: apical view that the user says it is.
        blood_mask: label map of the blood in every frame, (X, Y, T), 1 is blood.
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
        blood_mask: ``[T, H, W]`` bool, the blood in each frame, where that alone is registered.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Case.KEYS, "cine": "cine"}

    entry: CineEntry
    cine: MetaTensor
    blood_mask: Tensor | None = None

    @property
    def meta(self) -> CineMeta:
        """What is known of the cine."""
        return CineMeta.from_cine(self.cine)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.cine.shape[2], self.cine.shape[3]

    @property
    def file_size(self) -> tuple[int, int]:
        """Rows and columns of a frame of the file."""
        return file_size(self.cine, self.cine.meta)
