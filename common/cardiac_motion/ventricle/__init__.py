"""The left ventricle: mesh, contours, beats, strain, Kalman filter, views."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["strain"],
    submod_attrs={
        "beats": ["Beat", "find_beats"],
        "contours": ["wall_contours", "wall_lines", "wall_mask"],
        "kalman": ["smooth_points"],
        "labels": ["LABELS"],
        "mesh": ["Mesh", "myocardial_mesh"],
        "views": ["APICAL", "VIEWS", "ApicalView", "apical_view"],
    },
)
