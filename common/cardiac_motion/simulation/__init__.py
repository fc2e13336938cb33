"""Simulated ultrasound with exact motion: anatomy, motion, scatterers, image, artefacts, data sets."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "grid": ["ImageGrid"],
        "sequence": ["Settings", "Simulation", "draw"],
    },
)
