"""The wall in each frame: segmented, tracked and filtered."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "image_networks": ["load_segmentation", "load_view_classifier", "segment_cine", "classify_view"],
        "motion": ["Fusion", "TrackedBeat", "track_wall"],
        "wall": ["Wall"],
    },
)
