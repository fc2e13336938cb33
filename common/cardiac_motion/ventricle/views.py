"""Views of the heart; for the three apical views, the walls shown and the segments of the 18-segment model.

Voigt et al. 2015 (10.1093/ehjci/jeu184), Fig. 5: each view shows two walls, each with a basal, a mid and an apical
segment. In the usual orientation the first of the two walls is on the left of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

from cardiac_motion.core.errors import InputError

VIEWS = (
    "apical_4ch",
    "apical_2ch",
    "apical_long_axis",
    "parasternal_long_axis",
    "parasternal_short_axis",
    "subcostal_4ch",
    "inferior_vena_cava",
    "other",
)
"""The eight classes of Østvik et al. 2018 in the order of the classifier's outputs; ``other`` is "unknown" there."""
LEVELS = ("basal", "mid", "apical")
RING = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")  # bull's-eye order


@dataclass(frozen=True)
class ApicalView:
    """An apical view and its two walls, left and right in the usual orientation.

    Examples:
        >>> APICAL["apical_4ch"].segments()[:3]
        ['basal inferoseptal', 'mid inferoseptal', 'apical inferoseptal']
    """

    name: str
    short: str
    title: str
    walls: tuple[str, str]

    def segments(self, mirrored: bool = False) -> list[str]:
        """Return the six segments from the left base over the apex to the right base."""
        left, right = self.walls[::-1] if mirrored else self.walls
        return [f"{level} {left}" for level in LEVELS] + [f"{level} {right}" for level in LEVELS[::-1]]


APICAL = {
    view.name: view
    for view in (
        ApicalView("apical_4ch", "A4C", "apical four-chamber", ("inferoseptal", "anterolateral")),
        ApicalView("apical_2ch", "A2C", "apical two-chamber", ("inferior", "anterior")),
        ApicalView("apical_long_axis", "ALAX", "apical long-axis", ("inferolateral", "anteroseptal")),
    )
}


def apical_view(name: str) -> ApicalView:
    """Return the apical view of that name (``apical_4ch``) or abbreviation (``A4C``).

    Raises:
        InputError: no apical view has this name.

    Examples:
        >>> apical_view("A2C").walls
        ('inferior', 'anterior')
    """
    for view in APICAL.values():
        if name.lower() in (view.name, view.short.lower()):
            return view
    known = ", ".join(f"{view.name} ({view.short})" for view in APICAL.values())
    raise InputError(f"view {name!r}: strain can be measured in {known}")
