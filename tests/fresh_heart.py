"""A heart and a motion that no training has drawn: what a network with weights must see."""

from functools import cache

import torch

from cardiac_motion.registration.flow_loss import endpoint_error
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, draw


@cache
def fresh_pairs():
    """Image, true field and mask of two pairs, from no template, without artefacts."""
    settings = Settings(artefact=0.0, scenarios={"coupled": 1.0}, probes=("reference",), shape=(192, 192))
    simulation, _ = draw(view("apical_4ch", 5), 5, settings, 20)
    pairs = [simulation.pair(t + 2, t) for t in (3, 6)]
    return tuple(torch.stack([pair[key] for pair in pairs]) for key in ("image", "ddf", "mask"))


@torch.no_grad()
def measure_unfound(network):
    """The part of the motion that ``image -> ddf`` leaves: mean endpoint error over that of no motion."""
    image, truth, mask = fresh_pairs()
    left, whole = (endpoint_error(ddf, truth, mask).mean() for ddf in (network(image), 0 * truth))
    return float(left / whole)
