"""Public functions: registration, strain, blood flow and segmentation by the bundles' methods."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "blood": ["blood_flow"],
        "hippocampus": ["HippocampusLabels", "segment_hippocampus"],
        "images": ["read_volume"],
        "networks": ["load"],
        "registration": ["register"],
        "strain_results": ["SegmentStrain", "StrainResult", "measure_strain", "measure_study"],
    },
)
