"""Displacement fields: warp, compose, invert, regularity, local NCC, point tracking, files."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "analytic": ["PHANTOMS", "Phantom", "get_phantom"],
        "ddf": [
            "change_grids",
            "compose",
            "downsample",
            "exponentiate",
            "invert",
            "rescale",
            "sample",
            "smooth",
            "warp",
        ],
        "field_files": ["load_ddf", "save_cine_ddf", "save_volume_ddf"],
        "itk_transforms": ["load_itk_transform", "save_itk_transform"],
        "ncc": ["LocalNCCLoss", "local_ncc", "lncc2"],
        "points": ["grid_points", "step_backward", "step_forward", "track"],
        "random": ["random_deformation", "random_field"],
        "regularity": ["folding_fraction", "gradient", "jacobian_determinant", "log_jacobian_sd"],
    },
)
