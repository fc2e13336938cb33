"""``cardiac-motion register MOVING FIXED``: register one image to another, and write the transform for ITK and ANTs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from cardiac_motion.api.images import read_volume
from cardiac_motion.api.registration import register
from cardiac_motion.bundle.described_options import describe_options
from cardiac_motion.bundle.registration_methods import list_methods, method_files, method_named
from cardiac_motion.bundle.run import read_value
from cardiac_motion.cine.labels import read_plane
from cardiac_motion.command.bundle_commands import OF_ARGUMENT, add_bundle_options, look_ahead, split_nested
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import save_nifti
from cardiac_motion.core.whole_files import PROGRAM, SUMMARY, write_whole
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.itk_transforms import save_itk_transform
from cardiac_motion.fields.regularity import folding_fraction

DEFAULTS = {2: "ncc_flow", 3: "ssmsr"}
OF_FILES = (
    *(
        "input",
        "label",
        "atlas_dir",
        "datalist",
        "dataset_dir",
        "fold",
        "download",
        "output_dir",
        "spacing",
        "ed",
        "es",
    ),
    *("ed_mask", "es_mask", "blood_mask", "contour", "max_frames", "save_figures", "save_fields", "save_warped"),
    *("mlflow", "experiment", "resume", "labelled", "preset", "choice", "candidates", "refined_candidates", "margin"),
    *("n_atlases", "fusion", "window", "selector_weights", "wall_motion"),
)
"""Options of a bundle that concern files and atlases, not the registration."""


def register_parser(words: Sequence[str] = (), prog: str = "cardiac-motion register") -> CommandParser:
    """Build the parser of ``register``; with ``--method`` it has that method's options."""
    ahead = look_ahead(words)
    parser = CommandParser(prog=prog, description="Register one image to another: two frames, or two volumes.")
    parser.add_argument("moving", metavar="MOVING", help="NIfTI (X, Y) or (X, Y, Z), or an image file")
    parser.add_argument("fixed", metavar="FIXED", help="likewise; the result is on its grid")
    parser.add_argument("--bundles", metavar="DIR", help="folder of the bundles (default: the usual places)")
    methods = "; ".join(f"{name}: {about}" for name, about in list_methods().items())
    parser.add_argument("--method", metavar="NAME", choices=list(list_methods()),
                        help=f"{methods} (default: ncc_flow for frames, ssmsr for volumes)")  # fmt: skip
    parser.add_argument("--output_dir", type=Path, default=Path("output/register"), help="default: output/register")
    parser.add_argument("--spacing", metavar="MM", type=float, nargs=2, help="mm/pixel (row, column) of image files")
    name = ahead.method or DEFAULTS[2]
    files = method_files(name, method_named(name).dimensions()[0], ahead.bundles)
    options = [option for option in describe_options(files) if option.name not in OF_FILES]
    add_bundle_options(parser, options, f"options of the method {name}")
    return parser


def run_register(words: Sequence[str], prog: str = "cardiac-motion register") -> int:
    """Register, and write ``warp.nii.gz`` (ITK, ANTs), ``warped.nii.gz`` and ``summary.json``; return the exit code.

    Raises:
        InputError: an image cannot be read, the images do not match, or an option is unknown.
    """
    plain, nested = split_nested(words)
    given = register_parser(words, prog).parse_args(plain)
    moving, fixed = (read_image(path, given.spacing) for path in (given.moving, given.fixed))
    if moving.dim() != fixed.dim():
        raise InputError(f"{given.moving}, {given.fixed}: one is a frame, the other a volume")
    dimensions = fixed.dim() - 1
    options = {name: read_value(name, value) for name, value in (getattr(given, OF_ARGUMENT) or {}).items()}
    options |= {nested[i].removeprefix("--"): read_value(nested[i], nested[i + 1]) for i in range(0, len(nested), 2)}
    method = given.method or DEFAULTS[dimensions]
    pair = (moving, fixed) if dimensions == 3 else (moving[0], fixed[0])
    result = register(pair, method, bundles=given.bundles, **options)
    write_registration(given.output_dir, moving, fixed, result.ddf, method, result.seconds)
    print(f"{method}: {result.seconds:.1f} s; written to {given.output_dir}/")
    return 0


def read_image(path: str | Path, spacing: Sequence[float] | None = None) -> MetaTensor:
    """Read a frame ``[1, H, W]`` in [0, 1] with ``meta["spacing"]`` (None if unknown), or a volume.

    Args:
        path: NIfTI, or an image file.
        spacing: (row, column) in mm of a frame; overrides the file's.

    Raises:
        InputError: the file cannot be read.
    """
    nifti = str(path).lower().endswith((".nii", ".nii.gz"))
    if nifti and not _is_plane(path):
        return read_volume(path)
    if nifti:
        plane, zooms = read_plane(path)
        spacing = spacing or (float(zooms[1]), float(zooms[0]))
    else:
        plane = _read_picture(path)
    frame = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))[None]
    return MetaTensor(frame / 255 if frame.max() > 1 else frame, meta={"spacing": spacing})


def _is_plane(path: str | Path) -> bool:
    """Return whether a NIfTI contains one frame; False if it cannot be read."""
    try:
        return sum(n > 1 for n in nibabel.load(path).shape) == 2  # type: ignore[attr-defined]
    except Exception:
        return False


def _read_picture(path: str | Path) -> np.ndarray:
    try:
        return np.asarray(imageio.imread(path, mode="L"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:
        raise InputError(f"{path}: cannot be read as an image ({type(error).__name__})") from error


def write_registration(
    folder: Path, moving: MetaTensor, fixed: MetaTensor, ddf: Tensor, method: str, seconds: float
) -> None:
    """Write a registration's folder, completely or not at all; without spacing, no transform in mm is written."""
    with write_whole(folder) as beside:
        beside.mkdir()
        volume = fixed.dim() == 4
        on_fixed = ddf.shape[2:] == moving.shape[1:]
        affine = fixed.affine.numpy() if volume else np.eye(4)
        if volume:
            save_itk_transform(beside / "warp.nii.gz", ddf, affine)
        elif fixed.meta["spacing"]:
            save_itk_transform(beside / "warp.nii.gz", ddf, spacing=fixed.meta["spacing"])
        if on_fixed:
            values = warp(moving.as_tensor()[None].float(), ddf)[0, 0]
            values = values if volume else values.T
            save_nifti(nibabel.Nifti1Image(values.numpy(), affine), beside / "warped.nii.gz", "writing an image")
        summary = {
            "program": PROGRAM,
            "method": method,
            "seconds": seconds,
            "folding_fraction": float(folding_fraction(ddf).mean()),
            "largest_displacement": float(ddf.norm(dim=1).max()),
        }
        (beside / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
