"""Registration-based segmentation by atlases (SSMSR section III-B, Table I).

From a set of labelled volumes, the most similar to the target by LNCC² is chosen, before or after a registration by the
trained network; it is registered to the target, and its label map propagated. In addition to the paper, the label maps
of the k most similar atlases are fused: by a vote, or weighted by how well each agrees with the target around the
voxel, as in joint label fusion without its correlation term (Sabuncu et al. 2010; Wang et al. 2013).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.datalist import case_name, read_datalist
from cardiac_motion.core.errors import InputError, unwrap_errors
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.ncc import local_ncc, masked_mean, window_mask
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, pad_to_image, register
from cardiac_motion.volume.cases import phantom_entries, task04
from cardiac_motion.volume.transforms import one_hot, volume_transforms
from cardiac_motion.volume.volume_case import VolumeCase

log = logging.getLogger(__name__)

FUSIONS = ("majority", "joint")
CHOICES = ("after", "before")
AT_ONCE = 8  # volumes per batch
LAYOUT = "volumes in imagesTr/ and labels of the same names in labelsTr/"


class Atlases:
    """Labelled volumes in memory, on the common grid. Unusable ones are skipped with a warning.

    Args:
        folder: folder with ``imagesTr`` and ``labelsTr``, with equal file names in both.
        datalist, fold, dataset_dir, download: alternatively, a list in the decathlon's format.
        synthetic: without both, use six synthetic volumes (``cardiac_motion.volume.phantom``).
        n_atlases: maximum number of atlases; 0 uses all.
        transform: maps an entry to its case, as for the targets; None is ``volume_transforms()``.

    Raises:
        InputError: no atlas can be used.
    """

    def __init__(
        self,
        folder: str | None = None,
        datalist: str | None = None,
        fold: str = "training",
        dataset_dir: str = ".",
        download: bool = False,
        synthetic: bool = True,
        n_atlases: int = 0,
        transform: Callable[[dict[str, Any]], VolumeCase] | None = None,
    ) -> None:
        if folder is None and datalist is None and not synthetic:
            raise InputError(f"no atlases to register: give a folder with {LAYOUT} (atlas_dir)")
        self.names: list[str] = []
        self.affines: list[np.ndarray] = []
        images, labels = [], []
        entries = self._entries(folder, datalist, fold, dataset_dir, download)
        read = transform or volume_transforms()
        for entry in show_bar(entries[: n_atlases or None], "atlases", "volume"):
            try:
                with unwrap_errors():
                    case = read(entry)
                label = one_hot(case)
            except InputError as error:
                log.warning("atlas skipped: %s", error)
                continue
            self.names.append(case.name)
            self.affines.append(case.common_affine)
            images.append(case.image)
            labels.append(label[:, 1:].half())
        if not images:
            raise InputError(f"{folder or datalist}: none of {len(entries)} atlases can be used")
        self.image, self.label = torch.cat(images), torch.cat(labels)

    def region(self, margin: int, share: float = 0.02) -> Tensor:
        """Return voxels within ``margin`` of those labelled in at least a ``share`` of the atlases: ``[1, 1, *S]``."""
        labelled = (self.label.float().sum(1, keepdim=True).mean(0, keepdim=True) >= share).float()
        return functional.max_pool3d(labelled, 2 * margin + 1, 1, margin) > 0

    @staticmethod
    def _entries(
        folder: str | None, datalist: str | None, fold: str, dataset_dir: str, download: bool
    ) -> list[dict[str, Any]]:
        if folder is None and datalist is None:
            return phantom_entries("atlas", 6)
        if folder is None:
            return read_datalist(str(datalist), fold, task04(dataset_dir, download))
        base = task04(folder)
        files = sorted(path for path in (base / "imagesTr").glob("*.nii*") if not path.name.startswith("."))
        if not files:
            raise InputError(f"{folder}: no atlases; expected {LAYOUT}")
        return [
            {"case": case_name(path), "image": str(path), "label": str(base / "labelsTr" / path.name)} for path in files
        ]

    def __len__(self) -> int:
        return len(self.names)

    def pairs(self, index: Sequence[int], fixed: Tensor) -> Tensor:
        """Pair atlases (moving) with the target (fixed ``[1, 1, *S]``): ``[n, 2, *S]``."""
        moving = self.image[list(index)]
        return torch.cat([moving, fixed.expand_as(moving)], 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation(RegistrationResult):
    """Result of ``AtlasSegmentation``; ``ddf`` holds the field of each atlas, best first, in voxels of the common grid.

    Attributes:
        names: names of the atlases used, best first.
        affine: affine of the best atlas on the common grid, voxels to RAS mm.
        lncc2: LNCC² of each with the target after registration, in [0, 1].
        warped: the registered atlases, ``[k, 1, *S]``.
        memberships: memberships of the target, ``[1, 1 + labels, *S]``, background first.
        choice_seconds, registration_seconds: duration of either step.
    """

    names: list[str]
    affine: np.ndarray
    lncc2: list[float]
    warped: Tensor
    memberships: Tensor
    choice_seconds: float
    registration_seconds: float


class AtlasSegmentation(RegistrationInferer):
    """Choose atlases for a target, register them with a network or test-time training, and propagate their labels.

    Args:
        atlases: available atlases; one that is identical to the target is never chosen.
        inferer: registers pairs ``[n, 2, *S]`` with the network: MONAI's ``SimpleInferer`` (a forward pass; default)
            or a ``MultiScaleTestTimeTraining``.
        choice: ``after`` takes the highest LNCC² after a registration by ``selector``, ``before`` that of the
            unregistered volumes.
        selector: network for the choice after registration; None uses the network that registers.
        candidates: number of atlases, most similar before registration, among which ``after`` chooses; 0 uses all.
        refined_candidates: number of chosen atlases to register, of which the ``n_atlases`` best by LNCC² are used; 0
            registers ``n_atlases``.
        n_atlases: k, number of atlases to fuse.
        fusion: ``majority`` (a vote of equal weights) or ``joint`` (weights by local agreement).
        margin: restrict similarity (and test-time training) to this distance in voxels from labels of the atlases;
            None uses the whole volume, as in the paper.
        crop: register only the bounding box of the target; faster for methods that were not trained with padding.
        radius: radius of the LNCC² window of choice and fusion in voxels (the paper: 2, a window of 5³).
        sharpness: exponent of the local NCC² that weights a vote in ``joint``.
        memberships: a segmentation network (``Memberships``); the atlases' labels are then registered to its prediction
            for the target in addition to the intensities, by a loss that supports this.
        hidden: use the network's predictions for the atlases, too, during registration; their labels are only
            propagated.

    Attributes:
        given: name of the one atlas to register, whatever its similarity; None chooses.

    Raises:
        InputError: an unknown choice or fusion, or ``n_atlases`` is less than 1.
    """

    inferer: Inferer
    given: str | None = None

    def __init__(
        self,
        atlases: Atlases,
        inferer: Inferer | None = None,
        choice: str = "after",
        selector: nn.Module | None = None,
        candidates: int = 20,
        refined_candidates: int = 0,
        n_atlases: int = 1,
        fusion: str = "joint",
        margin: int | None = None,
        crop: bool = False,
        radius: int = 2,
        sharpness: float = 4.0,
        memberships: nn.Module | None = None,
        hidden: bool = False,
    ) -> None:
        super().__init__()
        if choice not in CHOICES or fusion not in FUSIONS or n_atlases < 1:
            raise InputError(
                f"choice must be one of {CHOICES}, fusion of {FUSIONS}, n_atlases at least 1; got {choice}, {fusion}, "
                f"{n_atlases}"
            )
        self.atlases, self.inferer, self.choice = atlases, inferer or SimpleInferer(), choice
        self.selector, self.candidates, self.refined_candidates, self.n_atlases = (
            selector,
            candidates,
            max(refined_candidates, n_atlases),
            n_atlases,
        )
        self.crop = crop
        self.region = None if margin is None else atlases.region(margin)
        self.fusion, self.radius, self.sharpness = fusion, radius, sharpness
        self.memberships, self.hidden = memberships, hidden

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> Segmentation:
        """Segment a target.

        Args:
            inputs: the target ``[1, 1, *S]`` on the atlases' grid, unit range.
            network: registration network.
            mask: ``[1, 1, *S]`` bool, the imaged region of the target.
            part: passed on.

        Raises:
            InputError: no atlas is left, or the given one does not exist.
        """
        start = time.perf_counter()
        if self.region is not None:
            mask = self.region if mask is None else mask & self.region
        index = self._choose(inputs, network, mask)
        chosen = time.perf_counter()
        pairs = self.atlases.pairs(index, inputs)
        ddf = self._register(self._add_memberships(pairs, index), network, mask, part)
        agreement = similarity(inputs, warp(pairs[:, :1], ddf), mask, self.radius)
        best = agreement.argsort(descending=True)[: self.n_atlases].tolist()
        index, ddf = [index[i] for i in best], ddf[best]
        warped = warp(pairs[best, :1], ddf)
        labels = warp(self.atlases.label[index].float(), ddf, padding="zeros")
        return Segmentation(
            ddf=ddf,
            names=[self.atlases.names[i] for i in index],
            affine=self.atlases.affines[index[0]],
            lncc2=agreement[best].tolist(),
            warped=warped,
            memberships=self._fuse(warped, inputs, labels),
            choice_seconds=chosen - start,
            registration_seconds=time.perf_counter() - chosen,
        )

    def _add_memberships(self, pairs: Tensor, index: list[int]) -> Tensor:
        """Add the atlases' labels and the target's predictions to pairs ``[n, 2, *S]``: ``[n, 2 (1 + C), *S]``."""
        if self.memberships is None:
            return pairs
        with torch.no_grad():
            network = self.memberships.eval()
            predicted = network(pairs[:1, 1:])[:, 0, 1:]
            labels = network(pairs[:, :1])[:, 0, 1:] if self.hidden else self.atlases.label[index].float()
        return torch.cat([pairs[:, :1], labels, pairs[:, 1:], predicted.expand_as(labels)], 1)

    def _register(self, pairs: Tensor, network: nn.Module, mask: Tensor | None, part: str = "") -> Tensor:
        if not self.crop:
            return register(pairs, network, self.inferer, mask, part).ddf
        size = pairs.shape[2:]
        box = bounding_box(mask, size)
        inside_box: Any = (..., *(slice(*edges) for edges in box))
        return pad_to_image(register(pairs[inside_box], network, self.inferer, None, part).ddf, box, size)

    def _choose(self, fixed: Tensor, network: nn.Module, mask: Tensor | None) -> list[int]:
        if self.given is not None:
            if self.given not in self.atlases.names:
                raise InputError(f"none of {len(self.atlases)} atlases has the name {self.given}")
            return [self.atlases.names.index(self.given)]
        same = (self.atlases.image - fixed).abs().flatten(1).amax(1) == 0
        before = similarity(fixed, self.atlases.image, mask, self.radius).masked_fill(same, -1)
        allowed = int((~same).sum())
        if not allowed:
            raise InputError("no atlas is left: all are identical to the volume")
        order = before.argsort(descending=True)[:allowed]
        if self.choice == "before":
            return order[: self.refined_candidates].tolist()
        order = order[: max(self.candidates, self.refined_candidates) if self.candidates else None]
        selector = network if self.selector is None else self.selector
        scores = []
        for part in show_bar(order.split(AT_ONCE), "atlas choice", "batch"):
            pairs = self.atlases.pairs(part.tolist(), fixed)
            ddf = selector(pairs.contiguous(memory_format=torch.channels_last_3d))  # faster by a quarter on a CPU
            scores.append(similarity(fixed, warp(pairs[:, :1], ddf), mask, self.radius))
        return order[torch.cat(scores).argsort(descending=True)[: self.refined_candidates]].tolist()

    def _fuse(self, warped: Tensor, fixed: Tensor, labels: Tensor) -> Tensor:
        """Fuse memberships of the registered atlases ``[k, C, *S]``: ``[1, 1 + C, *S]``."""
        whole = torch.cat([(1 - labels.sum(1, keepdim=True)).clamp(min=0), labels], 1)
        if self.fusion == "majority":
            votes = (
                functional.one_hot(whole.argmax(1), whole.shape[1]).movedim(-1, 1).float() if len(whole) > 2 else whole
            )
            return votes.mean(0, keepdim=True)
        agreement = local_ncc(fixed.expand_as(warped), warped, self.radius)
        weight = functional.pad(agreement, (self.radius,) * 6, mode="replicate").clamp(min=1e-3) ** self.sharpness
        return (whole * weight).sum(0, keepdim=True) / weight.sum(0, keepdim=True)


def similarity(fixed: Tensor, moving: Tensor, mask: Tensor | None, radius: int = 2) -> Tensor:
    """LNCC² of each of ``moving [n, 1, *S]`` with ``fixed [1, 1, *S]`` over the mask: ``[n]`` in [0, 1].

    Examples:
        >>> fixed = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> other = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(1))
        >>> similarity(fixed, torch.cat([other, fixed]), None).argmax().item()
        1
    """
    crop: Any = (..., *(slice(*edges) for edges in bounding_box(mask, fixed.shape[2:], margin=radius)))
    fixed, moving = fixed[crop], moving[crop]
    weight = None if mask is None else window_mask(mask[crop], radius)
    parts = moving.split(AT_ONCE)
    return torch.cat([masked_mean(local_ncc(fixed.expand_as(part), part, radius), weight) for part in parts])
