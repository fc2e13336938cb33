"""Cine loops: reading (``read``), writing, the imaging sector, and data sets of cases."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cases": ["CineCases", "cine_entries", "demo_cine"],
        "cine_case": ["CineCase", "CineEntry", "CineMeta"],
        "labels": ["read_labels", "read_mask"],
        "read": ["CINE_SUFFIXES", "frame_pairs", "read_cine", "read_two_frames"],
        "sector": ["sector_hull", "sector_mask"],
        "study": ["list_cines"],
        "transforms": ["cine_transforms"],
        "wall_files": ["read_contour", "read_wall"],
        "write": ["write_cine"],
    },
)
