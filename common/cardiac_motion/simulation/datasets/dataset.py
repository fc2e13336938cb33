"""Training pairs for motion estimation: simulated ultrasound, drawn on demand and never repeated.

Every item is a dictionary of tensors: ``image`` [2, H, W] (channel 0 moving, channel 1 fixed), ``ddf`` [2, H, W] in
pixels (row, column) on the fixed frame with ``moving(p + ddf(p)) = fixed(p)``, ``mask`` [1, H, W] where it holds, and
``spacing`` [2] in mm per pixel (row, column). Frames of a pair are 1 to 4 frames apart, in either direction of time
(Evain et al. 2022, section II-B.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import apical_of_prior, view
from cardiac_motion.simulation.heart.prior import draw_end_systole
from cardiac_motion.simulation.heart.template import Template, find_templates, read_template
from cardiac_motion.simulation.sequence import Settings, draw
from cardiac_motion.ventricle.views import VIEWS

_PRIOR = 78  # seed offset of the prior's random numbers


def numbers(length: int | None) -> Iterable[int]:
    """Yield the numbers below ``length`` (None: no limit) of this loader's worker: every n-th for n workers."""
    info = get_worker_info()
    first, step = (0, 1) if info is None else (info.id, info.num_workers)
    return count(first, step) if length is None else range(first, length, step)


class TemplateSource:
    """Templates by number: recorded frames of a folder, or parametric anatomy without one.

    Args:
        folder: folder of CAMUS-like patients (``template.find_templates``), or None.
        patients: patients of the folder to use; all by default.
        views: views of the parametric anatomy.
        prior: fraction of templates whose ventricle has its motion, and in parametric anatomy its shape too, from
            ``prior``.

    Raises:
        InputError: the folder contains no template, or a view is unknown.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        patients: Sequence[str] | None = None,
        views: Sequence[str] = ("apical_4ch", "apical_2ch", "apical_long_axis"),
        prior: float = 0.0,
    ) -> None:
        self.arguments = {"folder": folder and str(folder), "patients": patients, "views": list(views), "prior": prior}
        self._prior = prior
        self._templates = find_templates(Path(folder), patients) if folder else []
        if not set(views) <= set(VIEWS) or not views:
            raise InputError(f"views {list(views)} must be some of {', '.join(VIEWS)}")
        self._views = tuple(views)

    def __len__(self) -> int:
        return len(self._templates) or len(self._views)

    def name(self, number: int) -> str:
        """Return the name of a numbered template: of the patient, or of the view."""
        return self._templates[number % len(self)][0] if self._templates else self._views[number % len(self)]

    def __call__(self, number: int, seed: Sequence[int]) -> Template:
        """Return a numbered template; numbers start again after the last, with another heart in parametric anatomy."""
        rng = np.random.default_rng([*seed, number, _PRIOR])
        prior = rng.random() < self._prior
        if not self._templates:
            name = self.name(number)
            return apical_of_prior(name, [*seed, number]) if prior else view(name, [*seed, number])
        _, frame, mask, late = self._templates[number % len(self)]
        template = read_template(frame, mask, late)
        return replace(template, end_systole=draw_end_systole(template.mesh, rng)) if prior else template


class SimulatedPairs(IterableDataset[dict[str, Tensor]]):
    """Endless stream of simulated pairs, determined by seed, epoch and number of workers.

    A patient is drawn, then ``pairs`` pairs of its beat; with several workers each draws every n-th patient, so that
    together they draw the same patients as one worker.

    Args:
        templates: folder of CAMUS-like patients; None uses parametric anatomy.
        patients: patients of the folder to use.
        views: views of the parametric anatomy.
        gaps: minimum and maximum distance between the frames of a pair.
        pairs: number of pairs per patient.
        frames: number of frames per beat.
        seed: seed of all random numbers.
        length: patients per epoch; None for no end.
        device: device of the simulation; use ``cpu`` with workers.
        settings: fields of ``sequence.Settings`` that differ from its defaults.

    Raises:
        InputError: the gaps do not fit the number of frames, or a setting is unknown.
    """

    def __init__(
        self,
        templates: str | Path | None = None,
        patients: Sequence[str] | None = None,
        views: Sequence[str] = ("apical_4ch", "apical_2ch", "apical_long_axis"),
        gaps: tuple[int, int] = (1, 4),
        pairs: int = 8,
        frames: int = 40,
        seed: int = 0,
        length: int | None = None,
        device: str = "cpu",
        settings: dict[str, Any] | None = None,
    ) -> None:
        if not 1 <= gaps[0] <= gaps[1] < frames:
            raise InputError(f"gaps {tuple(gaps)}: must satisfy 1 <= minimum <= maximum < frames ({frames})")
        self._source = TemplateSource(templates, patients, views)
        self._gaps, self._pairs, self._frames, self._length = gaps, pairs, frames, length
        self._seed, self._epoch, self._device, self._settings = seed, 0, device, settings_from(settings)

    def set_epoch(self, epoch: int) -> None:
        """Draw other patients from the next iteration on."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in numbers(self._length):
            yield from self.patient(number)

    def patient(self, number: int) -> Iterator[dict[str, Tensor]]:
        """Yield the pairs of one patient."""
        seed = (self._seed, self._epoch, number)
        simulation, _ = draw(self._source(number, seed), seed, self._settings, self._frames, self._device)
        rng = np.random.default_rng((*seed, 1))
        for _ in range(self._pairs):
            gap = int(rng.integers(self._gaps[0], self._gaps[1] + 1))
            first = int(rng.integers(0, self._frames - gap))
            fixed, moving = (first, first + gap) if rng.random() < 0.5 else (first + gap, first)
            yield simulation.pair(fixed, moving)


def settings_from(changes: dict[str, Any] | None) -> Settings:
    """Return ``Settings`` with some fields changed; lists become tuples.

    Raises:
        InputError: a field is unknown.
    """
    known = {field.name for field in fields(Settings)}
    changes = changes or {}
    if not set(changes) <= known:
        raise InputError(f"settings {sorted(set(changes) - known)} are unknown; use some of {sorted(known)}")
    typed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    return replace(Settings(), **typed)
