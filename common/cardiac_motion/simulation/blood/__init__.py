"""Contrast cines of the left ventricle with known flow."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "contrast_cine": ["blood_case", "write_blood"],
        "flows": ["Filling", "HillVortex", "LambOseenPair"],
    },
)
