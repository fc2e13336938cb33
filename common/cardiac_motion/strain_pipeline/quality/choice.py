"""Which cines of a study are measured: the best one of each apical view.

Every cine is read once and classified; of those that show an apical view, two runs of four frames are segmented. The
quality of a
cine is the product of the view's probability, of the share of these frames that show a whole and plausible wall
(``ventricle.shape``), of the share of that wall that lies inside the sector, and of the frames that it has, up
to ``ENOUGH``. Of each view the greatest is taken, or the one that the user names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.core.bars import show_case_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.case_evaluator import CaseDataset
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.quality.orientation import Segment, orient_segmentation, plausible_share
from cardiac_motion.strain_pipeline.quality.view import decide_view, energy_check
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.strain_pipeline.tracking.motion import widen_sector
from cardiac_motion.ventricle.views import APICAL, apical_view

ENOUGH = 20  # frames of a cine
MOST_KEPT = 320 << 20  # bytes of the frames of a cine that is not read again
NAMED = "named by the user"


@dataclass(frozen=True)
class Listed:
    """A cine of a study.

    Attributes:
        name: of its case.
        source: its file or folder.
        view: what it shows; None where it can't be read.
        probability: of that view.
        frames: how many.
        quality: in [0, 1]; None of a cine that shows no apical view.
        taken: whether it is measured.
        why: in words, why it is or isn't.
    """

    name: str
    source: str
    view: str | None = None
    probability: float | None = None
    frames: int = 0
    quality: float | None = None
    taken: bool = False
    why: str = ""

    def row(self) -> dict[str, Any]:
        """For ``study.json``."""
        return asdict(self)


@runtime_checkable
class ListsCines(Protocol):
    """An evaluator that has looked at all cines of a study, and tells which of them it measures."""

    listed: list[Listed]


@dataclass(frozen=True, eq=False)
class Looked:
    """What was found of a cine while a study was looked at, so that nothing is done twice.

    Attributes:
        entry: of the cine.
        case: as read; None where its frames are too many to be kept.
        listed: its line.
        probabilities: of the views.
        segment: the segmentation, mirrored where that is needed.
    """

    entry: CineEntry
    case: CineCase | None
    listed: Listed
    probabilities: ViewProbabilities
    segment: Segment


def quality(lines: NDArray[np.float64], seen: NDArray[np.bool_], frames: int, probability: float) -> float:
    """The quality of a cine in [0, 1].

    Args:
        lines: ``[n, 3, P, 2]`` of the wall in the frames that were looked at, NaN where there is none; pixels.
        seen: the sector, ``[H, W]``.
        frames: of the cine.
        probability: of its view.
    """
    known = np.isfinite(lines).all((1, 2, 3))
    if not known.any():
        return 0.0
    at = np.rint(lines[known, 1]).astype(int)
    row, column = (np.clip(at[..., axis], 0, n - 1) for axis, n in enumerate(seen.shape))
    return float(probability * plausible_share(lines) * seen[row, column].mean() * min(1.0, frames / ENOUGH))


def examine(
    case: CineCase,
    classify: Callable[[Tensor], ViewProbabilities],
    segment: Segment,
    gate: Gate,
    keep: Callable[[Looked], None] | None = None,
) -> Listed:
    """A cine with its view and, if that is apical, its quality.

    Args:
        case: as read.
        classify, segment, gate: as in ``StrainEvaluator``.
        keep: is given what was found of a cine that shows an apical view.
    """
    frames = case.cine.as_tensor()[0]
    found = classify(frames)
    listed = Listed(case.name, case.entry.image, frames=len(frames))
    try:
        view = decide_view(case, found, gate.view_threshold, gate.ignore_checks)
        gate.stop([energy_check(found)], case.entry.image)
    except InputError:
        best = found.most_probable
        said = "no apical view" if best not in APICAL else "not certain of the view"
        return replace(listed, view=best, probability=found.by_view[best], why=said)
    oriented, lines = orient_segmentation(frames, segment)
    probability = 1.0 if view.given else found.by_view[view.view.name]
    score = quality(lines, widen_sector(case.cine), len(frames), probability)
    listed = replace(listed, view=view.view.name, probability=probability, quality=score)
    if keep is not None:
        few = case.cine.numel() * case.cine.element_size() <= MOST_KEPT
        keep(Looked(case.entry, case if few else None, listed, found, oriented))
    return listed


def examine_all(dataset: CaseDataset, look: Callable[[CineCase], Listed]) -> list[Listed]:
    """All cines of a data set, looked at; what can't be read is listed with its reason."""
    found = []
    for index in tqdm(range(len(dataset)), unit="cine", desc="looking at the study", mininterval=1):
        entry = dataset.entries[index]
        try:
            with show_case_bar(str(entry["case"]), {}, hidden=True):
                found.append(look(dataset[index]))
        except InputError as error:
            found.append(Listed(str(entry["case"]), str(entry["image"]), why=str(error)))
    return found


def choose_best(listed: Sequence[Listed], select_cine: Mapping[str, str] | None = None) -> list[Listed]:
    """The same with the best cine of each apical view taken.

    Args:
        listed: as ``examine_all`` gives them.
        select_cine: view (``A4C``, ``apical_4ch``, …) to the name of the cine that the user wants for it, whatever it
            is.

    Raises:
        InputError: no cine of that name, one for two views, or none that shows an apical view.
    """
    wanted = {apical_view(view).name: name for view, name in (select_cine or {}).items()}
    unknown = set(wanted.values()) - {cine.name for cine in listed}
    if unknown:
        raise InputError(
            f"--select_cine: no cine {min(unknown)!r}; there are {', '.join(cine.name for cine in listed)}"
        )
    if len(set(wanted.values())) < len(wanted):
        raise InputError(f"--select_cine: one cine for two views ({', '.join(wanted.values())})")
    views = {name: view for view, name in wanted.items()}
    best: dict[str, Listed] = {}
    for cine in listed:
        free = cine.quality is not None and cine.view not in wanted and cine.name not in views
        if free and cine.view and (cine.view not in best or (cine.quality or 0) > (best[cine.view].quality or 0)):
            best[cine.view] = cine
    result = []
    for cine in listed:
        if cine.name in views:
            result.append(replace(cine, view=views[cine.name], taken=True, why=NAMED))
        elif cine.view and best.get(cine.view) is cine:
            result.append(replace(cine, taken=True, why="the best of its view"))
        else:
            result.append(replace(cine, why=cine.why or "another one of its view is taken"))
    if not any(cine.taken for cine in result):
        said = "; ".join(f"{cine.name}: {(cine.view or cine.why).replace('_', ' ')}" for cine in listed)
        raise InputError(f"none of {len(listed)} cines shows an apical view ({said})")
    return result


def format_listing(listed: Sequence[Listed]) -> str:
    """A line a cine for the terminal."""
    return "\n".join(
        f"  {'*' if cine.taken else ' '} {'  '.join(row)}" for cine, row in zip(listed, rows(listed), strict=True)
    )


def rows(listed: Sequence[Listed]) -> list[list[str]]:
    """Name, view with its probability, frames, quality and reason of each cine, as texts."""
    return [
        [
            cine.name,
            "–" if cine.view is None else f"{cine.view.replace('_', ' ')} {cine.probability:.2f}",
            f"{cine.frames} frames",
            "–" if cine.quality is None else f"{cine.quality:.2f}",
            cine.why,
        ]
        for cine in listed
    ]
