"""Step 1: the view of a cine (Østvik et al. 2018, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.quality.checks import CASE, Check
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.ventricle.views import APICAL, ApicalView, apical_view

LEAST_ENERGY = 3.0  # recorded four-chamber cines that were not trained on have 5.6 and more


@dataclass(frozen=True)
class CineView:
    """The view of a cine.

    Attributes:
        view: that it is measured as.
        probabilities: the classifier's output.
        given: whether the user said it.
    """

    view: ApicalView
    probabilities: ViewProbabilities
    given: bool


def view_check(view: CineView, threshold: float) -> Check:
    """Whether the classifier is certain enough of the view; what the user says has no limit."""
    least = None if view.given else threshold
    return Check("view", view.probabilities.by_view.get(view.view.name, 0.0), least, None, "probability", CASE)


def energy_check(probabilities: ViewProbabilities) -> Check:
    """Check whether the frames are like those the classifier was trained on (``ViewProbabilities.energy``)."""
    energy = probabilities.energy
    return Check("like what was trained on", energy, LEAST_ENERGY, None, "free energy of the logits", CASE)


def decide_view(
    case: CineCase, probabilities: ViewProbabilities, threshold: float = 0.5, ignore_checks: bool = False
) -> CineView:
    """The apical view of a cine: what the user says it is, or the most probable one.

    Args:
        case: the cine.
        probabilities: the classifier's output.
        threshold: least probability of the view.
        ignore_checks: take the most probable apical view, however improbable it is.

    Raises:
        InputError: no apical view, or an uncertain one, and the user says nothing.
    """
    given, source = case.entry.assumed_view, case.entry.image
    if given:
        return CineView(apical_view(given), probabilities, True)
    if ignore_checks:
        best = max(APICAL, key=lambda name: probabilities.by_view.get(name, 0.0))
        return CineView(APICAL[best], probabilities, False)
    best = probabilities.most_probable
    share = probabilities.by_view[best]
    take = "--view apical_4ch (or apical_2ch, apical_long_axis) takes it as one"
    said = f"{best.replace('_', ' ')} ({share:.2f})"
    if best not in APICAL:
        raise InputError(f"{source}: looks like {said}, not an apical view; {take}")
    if share < threshold:
        said = f"{best.replace('_', ' ')} {share:.2f}"
        raise InputError(f"{source}: the view is not certain ({said}, less than {threshold:g}); {take}")
    return CineView(APICAL[best], probabilities, False)
