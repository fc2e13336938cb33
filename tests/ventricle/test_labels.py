"""Labels that files, networks and lines share."""

from cardiac_motion.ventricle.contours import wall_contours
from cardiac_motion.ventricle.labels import LABELS
from tests.ventricle.test_contours import horseshoe


def test_the_wall_is_drawn_around_what_is_called_the_cavity():
    assert list(LABELS) == [1, 2, 3], "0 is the background, and a network's channels are in this order"
    labels = horseshoe(9, 40, (90, 120))
    endo, _, epi = wall_contours(labels)
    inside = {LABELS[v] for v in (1, 2, 3) if labels[int(endo[:, 0].mean()), 40] == v}
    assert inside == {"lv_cavity"}
    middle = ((endo + epi) / 2)[60].round().astype(int)
    assert LABELS[labels[tuple(middle)]] == "myocardium"
