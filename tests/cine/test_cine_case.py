"""What is known of a cine, from its tensor, and the sizes of a case."""

from dataclasses import fields

import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineMeta


def cine(**meta):
    return MetaTensor(torch.zeros(1, 3, 6, 8), meta=meta)


def test_what_is_known_is_taken_and_the_rest_left():
    meta = CineMeta.from_cine(cine(source="a.dcm", spacing=(0.5, 0.4), frame_times=[0.0, 0.1, 0.2], unknown=3))
    assert (meta.source, meta.spacing, meta.frame_times) == ("a.dcm", (0.5, 0.4), [0.0, 0.1, 0.2])
    assert not hasattr(meta, "unknown") and meta.r_waves is None and meta.notes == () and not meta.colour_flow
    assert CineMeta.from_cine(cine()) == CineMeta("")


def test_steps_are_millimetres_where_they_are_known():
    assert CineMeta("", spacing=(0.5, 0.4), aspect=1.25).steps == (0.5, 0.4)
    assert CineMeta("", aspect=1.25).steps == (1.25, 1.0), "in widths of a pixel"


def test_sizes_of_a_case():
    names = {field.name: None for field in fields(CineCase)}
    case = CineCase(**{**names, "cine": cine(zoom=(1.0, 1.0))})
    assert case.size == (6, 8) and case.file_size == (6, 8) and case.meta.zoom == (1.0, 1.0)
    stretched = CineCase(**{**names, "cine": cine(zoom=(2.0, 1.0))})
    assert stretched.size == (6, 8) and stretched.file_size == (3, 8), "rows were doubled to square pixels"
