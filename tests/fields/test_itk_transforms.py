"""Fields as ITK and ANTs apply them: points and images of oblique, anisotropic grids, to 1e-3 mm."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.fields.itk_transforms import load_itk_transform, save_itk_transform

MILLIMETRES = 1e-3
LPS = np.diag([-1.0, -1.0, 1.0])


def turn(axis, degrees):
    angle, found = np.deg2rad(degrees), np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    found[np.ix_([i, j], [i, j])] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return found


def volume_affine(oblique, flipped):
    """Voxels of 0.7 × 1.1 × 2.6 mm, turned about all axes, the first running from left to right or back."""
    turned = turn(0, 20) @ turn(1, -35) @ turn(2, 50) if oblique else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag([-0.7 if flipped else 0.7, 1.1, 2.6])
    affine[:3, 3] = [-31.0, 12.5, 40.0]
    return affine


def smooth_field(size, seed=0):
    """A few voxels in every direction, different along every axis and component: ``[1, d, *S]``."""
    rng = np.random.default_rng(seed)
    grid = identity_grid(size, torch.zeros(1, dtype=torch.float64))[0]
    ddf = torch.zeros_like(grid)
    for component in range(len(size)):
        slopes = torch.as_tensor(rng.uniform(0.1, 0.3, len(size))).view(-1, *(1,) * len(size))
        ddf[component] = rng.uniform(-2, 2) + torch.sin((grid * slopes).sum(0) + rng.uniform(0, 6))
    return ddf[None].float()


def points_of(affine, size, ddf):
    """Some inner voxels in ITK's millimetres, and where the field leads them."""
    rng = np.random.default_rng(1)
    index = np.stack([rng.integers(3, n - 3, 40) for n in size], 1)
    moved = index + ddf[0].numpy()[(slice(None), *index.T)].T
    return [at @ affine[: len(size), : len(size)].T + affine[: len(size), -1] for at in (index, moved)]


def itk_affine(affine):
    """A volume's affine in ITK's axes."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_transform(path):
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("oblique", [False, True])
def test_itk_leads_the_points_of_a_volume_where_the_field_does(oblique, flipped, tmp_path):
    size, affine = (18, 21, 12), volume_affine(oblique, flipped)
    ddf = smooth_field(size)
    save_itk_transform(tmp_path / "warp.nii.gz", ddf, affine)
    transform = read_transform(tmp_path / "warp.nii.gz")
    start, end = points_of(itk_affine(affine), size, ddf)
    found = np.array([transform.TransformPoint(point) for point in start.tolist()])
    assert np.abs(found - end).max() < MILLIMETRES
    assert np.abs(end - start).max() > 1, "it moves them at all"


@pytest.mark.parametrize("degrees", [0, 25, -110])
def test_itk_leads_the_points_of_a_frame_where_the_field_does(degrees, tmp_path):
    size = (40, 52)
    place = np.eye(3)
    place[:2, :2] = turn(2, degrees)[:2, :2] @ [[0.0, 0.3], [0.8, 0.0]]
    place[:2, 2] = [-7.0, 21.0]
    ddf = smooth_field(size)
    save_itk_transform(tmp_path / "warp.nii.gz", ddf, place)
    transform = read_transform(tmp_path / "warp.nii.gz")
    start, end = points_of(place, size, ddf)
    found = np.array([transform.TransformPoint(point) for point in start.tolist()])
    assert np.abs(found - end).max() < MILLIMETRES


def test_the_spacing_of_a_frame_is_that_of_a_simpleitk_image(tmp_path):
    """The field of one column to the right: the fixed image shows what the moving one has there."""
    frame = np.tile(np.arange(30.0), (20, 1)).astype(np.float32)
    moving = sitk.GetImageFromArray(frame)
    moving.SetSpacing((0.4, 0.9))
    ddf = torch.zeros(1, 2, 20, 30)
    ddf[:, 1] = 1.0
    save_itk_transform(tmp_path / "warp.nii.gz", ddf, spacing=(0.9, 0.4))
    warped = sitk.GetArrayFromImage(sitk.Resample(moving, moving, read_transform(tmp_path / "warp.nii.gz")))
    assert np.abs(warped[:, :-1] - (frame[:, :-1] + 1)).max() < MILLIMETRES


@pytest.mark.parametrize("oblique", [False, True])
def test_ants_warps_a_volume_as_the_field_does(oblique, tmp_path):
    """Images of the moving coordinates, of which linear interpolation makes no error."""
    ants = pytest.importorskip("ants")
    size, affine = (18, 21, 12), volume_affine(oblique, False)
    ddf = smooth_field(size)
    save_itk_transform(tmp_path / "warp.nii.gz", ddf, affine)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"))
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], grid) + affine[:3, 3].reshape(3, 1, 1, 1)
    expected = np.einsum("ij,jxyz->ixyz", affine[:3, :3], grid + ddf[0].numpy()) + affine[:3, 3].reshape(3, 1, 1, 1)
    inner = (slice(4, -4), slice(4, -4), slice(4, -4))
    for axis in range(3):
        nibabel.save(nibabel.Nifti1Image(world[axis], affine), tmp_path / "moving.nii.gz")
        moving = ants.image_read(str(tmp_path / "moving.nii.gz"), pixeltype="double")
        warped = ants.apply_transforms(moving, moving, [str(tmp_path / "warp.nii.gz")], interpolator="linear")
        assert np.abs(warped.numpy() - expected[axis])[inner].max() < MILLIMETRES


def test_ants_warps_a_frame_as_the_field_does(tmp_path):
    ants = pytest.importorskip("ants")
    size, ddf = (40, 52), smooth_field((40, 52))
    save_itk_transform(tmp_path / "warp.nii.gz", ddf, spacing=(0.8, 0.3))
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in size), indexing="ij"))
    for axis, step in enumerate((0.8, 0.3)):
        moving = ants.from_numpy(grid[axis].T * step, spacing=(0.3, 0.8))  # ANTs' arrays are (x, y)
        warped = ants.apply_transforms(moving, moving, [str(tmp_path / "warp.nii.gz")], interpolator="linear")
        expected = (grid[axis] + ddf[0, axis].numpy()) * step
        assert np.abs(warped.numpy().T - expected)[4:-4, 4:-4].max() < MILLIMETRES


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_transform_that_itk_wrote_is_read(dimensions, tmp_path):
    """What SimpleITK makes of a field's file and writes itself is the same field, in the same place."""
    size = (40, 52) if dimensions == 2 else (18, 21, 12)
    place = volume_affine(True, True)
    if dimensions == 2:
        place = np.eye(3)
        place[:2] = np.c_[turn(2, 25)[:2, :2] @ [[0.0, 0.3], [0.8, 0.0]], [-7.0, 21.0]]
    ddf = smooth_field(size)
    save_itk_transform(tmp_path / "ours.nii.gz", ddf, place)
    field = read_transform(tmp_path / "ours.nii.gz").GetDisplacementField()
    sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), str(tmp_path / "theirs.nii.gz"))
    for name in ("ours", "theirs"):
        loaded, affine = load_itk_transform(tmp_path / f"{name}.nii.gz")
        assert loaded.shape == ddf.shape and np.allclose(affine, place, atol=1e-5)
        error = np.einsum("ij,bj...->bi...", place[:dimensions, :dimensions], (loaded - ddf).numpy())
        assert np.abs(error).max() < MILLIMETRES


def test_what_ants_registers_is_read(tmp_path):
    """ANTs' own warp, applied by ANTs and by the field that is read of it."""
    ants = pytest.importorskip("ants")
    from cardiac_motion.fields.ddf import warp

    smoothed = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(np.random.default_rng(0).random((48, 40))), 3.0)
    picture = sitk.GetArrayFromImage(smoothed).T.copy()
    picture = (picture - picture.min()) / np.ptp(picture)
    fixed = ants.from_numpy(picture, spacing=(0.5, 0.8))
    moving = ants.from_numpy(np.roll(picture, 2, 0), spacing=(0.5, 0.8))
    done = ants.registration(fixed, moving, "SyNOnly", outprefix=str(tmp_path / "a"), random_seed=1)
    path = next(path for path in done["fwdtransforms"] if path.endswith("Warp.nii.gz"))
    theirs = ants.apply_transforms(fixed, moving, [path], interpolator="linear").numpy().T
    ddf, affine = load_itk_transform(path)
    assert np.allclose(affine[:2, :2], [[0, 0.5], [0.8, 0]])
    ours = warp(torch.from_numpy(moving.numpy().T.copy())[None, None].float(), ddf)[0, 0].numpy()
    assert np.abs(ours - theirs)[6:-6, 6:-6].max() < 1e-3
    assert ddf.abs().max() > 0.5


@pytest.mark.parametrize(
    ("ddf", "name", "place", "words"),
    [
        (torch.zeros(4, 2, 8, 8), "a.nii.gz", {"spacing": (1, 1)}, r"one field \[d, \*S\], got shape \(4, 2, 8, 8\)"),
        (torch.zeros(2, 8, 8), "a.mha", {"spacing": (1, 1)}, "written as NIfTI"),
        (torch.zeros(2, 8, 8), "a.nii.gz", {}, "give the spacing"),
        (torch.zeros(2, 8, 8), "a.nii.gz", {"spacing": (1, 0)}, "invertible 3×3 map"),
        (torch.zeros(3, 8, 8, 8), "a.nii.gz", {}, "needs the affine"),
        (torch.zeros(3, 8, 8, 8), "a.nii.gz", {"affine": np.zeros((4, 4))}, "invertible 4×4 map"),
    ],
)
def test_what_is_no_transform_is_refused(ddf, name, place, words, tmp_path):
    with pytest.raises(InputError, match=words):
        save_itk_transform(tmp_path / name, ddf, **place)
    assert not list(tmp_path.iterdir())


def test_files_that_hold_no_transform_are_refused(tmp_path):
    save_cine_ddf(tmp_path / "cine.nii.gz", torch.zeros(4, 2, 8, 8))
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4)), np.eye(4)), tmp_path / "volume.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no image", encoding="utf-8")
    for name, words in (
        ("cine", "use load_ddf"),
        ("volume", "got shape"),
        ("text", "cannot be read as"),
        ("no", "cannot be read as"),
    ):
        with pytest.raises(InputError, match=words):
            load_itk_transform(tmp_path / f"{name}.nii.gz")
