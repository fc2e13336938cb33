"""Networks that map ``image [B, 2, *S]`` (moving, fixed) to ``ddf [B, d, *S]`` in voxels; segmentation; views."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "memberships": ["Memberships"],
        "ncc_flow": ["NCCFlow"],
        "pwc_net": ["PWCNet"],
        "registration_unet": ["RegistrationUNet"],
        "segmentation_unet": ["SegmentationUNet"],
        "stacked_flow": ["StackedFlow"],
        "view_classifier": ["ViewClassifier"],
        "weights": ["load_weights", "read_weights", "save_weights"],
    },
)
