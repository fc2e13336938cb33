"""Strain and timing of a tracked wall, with intervals."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "beat_strain": ["BeatStrain"],
        "followup": ["Change", "Earlier", "read_earlier"],
        "measures": ["Measured", "StrainMeasures"],
        "repeats": ["RepeatsResult", "SimulatedRepeat"],
    },
)
