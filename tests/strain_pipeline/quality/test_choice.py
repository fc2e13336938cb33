"""Which cines of a study are taken."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineEntry
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.quality.choice import (
    Listed,
    choose_best,
    examine,
    examine_all,
    format_listing,
    quality,
)
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.ventricle.contours import wall_contours
from tests.strain_pipeline.test_pipeline import SHARE, SIZE, labels_at

A, B, C, D = (
    Listed("a", "a.dcm", "apical_4ch", 0.9, 40, 0.7),
    Listed("b", "b.dcm", "apical_4ch", 0.8, 40, 0.8),
    Listed("c", "c.dcm", "apical_2ch", 0.9, 40, 0.1),
    Listed("d", "d.dcm", "parasternal_long_axis", 0.9, 40, None, why="no apical view"),
)


def taken(*args):
    return {cine.name: cine.view for cine in choose_best(*args) if cine.taken}


def test_the_best_of_each_view_is_taken():
    assert taken([A, B, C, D]) == {"b": "apical_4ch", "c": "apical_2ch"}
    found = choose_best([A, B, C, D])
    assert [cine.why for cine in found][::3] == ["another one of its view is taken", "no apical view"]
    assert format_listing(found).count("*") == 2 and "0.80" in format_listing(found)


def test_a_user_names_another():
    assert taken([A, B, C, D], {"A4C": "a"}) == {"a": "apical_4ch", "c": "apical_2ch"}
    assert taken([A, B, C, D], {"ALAX": "d"}) == {"b": "apical_4ch", "c": "apical_2ch", "d": "apical_long_axis"}
    assert taken([A, B, C, D], {"A2C": "b"}) == {"a": "apical_4ch", "b": "apical_2ch"}
    with pytest.raises(InputError, match="no cine 'x'; there are a, b, c, d"):
        choose_best([A, B, C, D], {"A4C": "x"})
    with pytest.raises(InputError, match="one cine for two views"):
        choose_best([A, B], {"A4C": "a", "A2C": "a"})


def test_none_that_is_apical():
    with pytest.raises(InputError, match=r"none of 1 cines shows an apical view \(d: parasternal long axis\)"):
        choose_best([D])


def test_quality_falls_with_what_is_missing():
    lines = np.stack([wall_contours(labels_at(1.0))] * 4)
    seen = np.ones((SIZE, SIZE), bool)
    assert quality(lines, seen, 40, 0.9) == pytest.approx(0.9)
    assert quality(lines, seen, 10, 0.9) == pytest.approx(0.45), "half the frames that are enough"
    torn = lines.copy()
    torn[:2] = np.nan
    assert quality(torn, seen, 40, 1.0) == pytest.approx(0.5)
    assert quality(lines * [1, 2.4] - [0, 84], seen, 40, 1.0) == 0 == quality(torn[:2], seen, 40, 1.0)
    seen[:, 60:] = False
    assert quality(lines, seen, 40, 1.0) == pytest.approx(0.5, abs=0.03)


def cases(*views):
    """A data set of cines whose segmentation and view are known; the last can't be read."""
    labels = torch.from_numpy(np.stack([labels_at(s) for s in SHARE]))
    cine = MetaTensor(torch.rand(1, len(SHARE), SIZE, SIZE), meta={"spacing": None})
    items = [SimpleNamespace(name=v, entry=CineEntry(v, f"{v}.dcm"), cine=cine) for v in views]

    class Cases:
        def __init__(self):
            self.entries = [{"case": v, "image": f"{v}.dcm"} for v in (*views, "broken")]

        def __len__(self):
            return len(self.entries)

        def __getitem__(self, index):
            if index == len(items):
                raise InputError("broken.dcm: no cine")
            return items[index]

    segment = lambda frames: torch.nn.functional.one_hot(labels[: len(frames)].long(), 4).movedim(-1, 1).float()  # noqa: E731
    return Cases(), segment


def test_a_study_is_looked_at():
    dataset, segment = cases("apical_2ch", "subcostal_4ch")
    views = iter(("apical_2ch", "subcostal_4ch"))
    classify = lambda frames: ViewProbabilities({next(views): 0.8, "other": 0.2}, 6.0)  # noqa: E731
    found = examine_all(dataset, lambda case: examine(case, classify, segment, Gate()))
    assert [cine.view for cine in found] == ["apical_2ch", "subcostal_4ch", None]
    assert 0.5 < found[0].quality <= 0.8 and found[1].quality is None and found[2].why == "broken.dcm: no cine"
