"""Volumes as cases on a common grid: readers, preprocessing transforms and a synthetic phantom."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cases": ["VolumeCases"],
        "read": ["read_label", "read_volume"],
        "transforms": ["normalise", "volume_tensor", "volume_transforms"],
        "volume_case": ["LABELS", "VolumeCase", "VolumeEntry"],
    },
)
