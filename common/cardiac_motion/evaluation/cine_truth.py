"""Ground truth of a cine in a list: fields and contours of a simulation, or labels at two frames."""

from __future__ import annotations

from dataclasses import dataclass

from cardiac_motion.core.entry import Entry


@dataclass(frozen=True)
class CineTruth(Entry):
    """Entry of a cine with known motion (``entry.read_as(CineTruth)``).

    Attributes:
        ddf: true field of each pair (``ddf.nii.gz``).
        mask: mask of the myocardium in each frame, (X, Y, T).
        contours: endocardium and epicardium of each frame, JSON.
        summary: true strain and the frame of end-systole, JSON.
        body: name of an analytic phantom.
        velocity: true velocity of blood in each pair, in the format of ``ddf``.
        ed_label, es_label: label maps at end-diastole and end-systole: 1 cavity, 2 myocardium, 3 left atrium.
    """

    ddf: str | None = None
    mask: str | None = None
    contours: str | None = None
    summary: str | None = None
    body: str | None = None
    velocity: str | None = None
    ed_label: str | None = None
    es_label: str | None = None
