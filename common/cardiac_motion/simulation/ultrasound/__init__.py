"""Ultrasound imaging of moving scatterers: speckle, images, artefacts and recording."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "image": ["Probe", "Scanner"],
        "recording": ["RecordingChain"],
        "scatterers": ["Scatterers"],
        "speckle": ["Speckle"],
    },
)
