"""Step 1: the view of a cine (Østvik et al. 2018, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.quality.checks import CASE, Check
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.ventricle.views import APICAL, ApicalView, apical_view

SLACK = 0.05  # of the threshold: a probability that much less is taken
LEAST_LEAD = 0.15  # of a view's probability over the next one's
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


def least_probability(threshold: float) -> float:
    """Return the least probability that passes ``threshold``: ``SLACK`` less, free of its rounding.

    Examples:
        >>> least_probability(0.5)
        0.45
    """
    return round(threshold - SLACK, 6)


def view_check(view: CineView, threshold: float) -> Check:
    """Whether the classifier is certain enough of the view; what the user says has no limit."""
    least = None if view.given else least_probability(threshold)
    return Check("view", view.probabilities.by_view.get(view.view.name, 0.0), least, None, "probability", CASE)


def lead_check(view: CineView) -> Check:
    """Check that no other view is nearly as probable; what the user says has no limit."""
    least = None if view.given else LEAST_LEAD
    return Check("lead of the view", lead_of(view.probabilities, view.view.name), least, None, "probability", CASE)


def lead_of(probabilities: ViewProbabilities, name: str) -> float:
    """Return a view's probability less that of the most probable other one.

    Examples:
        >>> round(lead_of(ViewProbabilities({"apical_4ch": 0.5, "apical_long_axis": 0.46}, 6.0), "apical_4ch"), 2)
        0.04
    """
    others = [share for other, share in probabilities.by_view.items() if other != name]
    return probabilities.by_view.get(name, 0.0) - max(others, default=0.0)


def is_certain(probabilities: ViewProbabilities, threshold: float) -> bool:
    """Whether the most probable view is probable enough, and far enough ahead of the next."""
    best = probabilities.most_probable
    enough = probabilities.by_view[best] >= least_probability(threshold)
    return enough and lead_of(probabilities, best) >= LEAST_LEAD


def energy_check(probabilities: ViewProbabilities) -> Check:
    """Check whether the frames are like those the classifier was trained on (``ViewProbabilities.energy``)."""
    energy = probabilities.energy
    return Check("like what was trained on", energy, LEAST_ENERGY, None, "out-of-distribution score", CASE)


def decide_view(
    case: CineCase, probabilities: ViewProbabilities, threshold: float = 0.5, ignore_checks: bool = False
) -> CineView:
    """The apical view of a cine: what the user says it is, or the most probable one.

    Args:
        case: the cine.
        probabilities: the classifier's output.
        threshold: probability of the view, which may be ``SLACK`` less; it must lead the next by ``LEAST_LEAD``.
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
    if not is_certain(probabilities, threshold):
        order = sorted(probabilities.by_view, key=lambda name: -probabilities.by_view[name])[:2]
        said = ", ".join(f"{name.replace('_', ' ')} {probabilities.by_view[name]:.3f}" for name in order)
        wanted = f"at least {least_probability(threshold):g} and {LEAST_LEAD:g} more than the next"
        raise InputError(f"{source}: the view is not certain ({said}; {wanted}); {take}")
    return CineView(APICAL[best], probabilities, False)
