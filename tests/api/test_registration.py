"""Arrays through the bundles' own methods: the same field, whichever way they are given."""

import numpy as np
import pytest
import torch

from cardiac_motion.api.images import read_volume
from cardiac_motion.api.registration import register
from cardiac_motion.bundle.registration_methods import METHODS
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.field_files import load_ddf
from tests.bundles.running import run_here
from tests.conftest import moving_cine
from tests.volume.made import save

QUICK = {"radius": 2, "steps": 1}


@pytest.fixture(scope="module")
def frames():
    return moving_cine(3, (64, 72))[0]


@pytest.mark.parametrize("method", ["dis", "ncc_flow"])
def test_a_cine_its_pairs_and_its_frames_give_one_field(frames, method):
    cine = register(frames[None], method).ddf
    assert cine.shape == (2, 2, 64, 72) and cine.dtype == torch.float32
    assert register(frames.numpy(), method).ddf.equal(cine)
    assert register(torch.stack([frames[:-1], frames[1:]], 1), method).ddf.equal(cine)
    pair = register((frames[0], frames[1].numpy()), method).ddf
    assert torch.allclose(pair, cine[:1], atol=1e-4)


def test_the_field_pulls_back(frames):
    ddf = register((frames[0], frames[1]), "farneback").ddf
    before = (frames[0] - frames[1])[8:-8, 8:-8].abs().mean()
    after = (warp(frames[None, None, 0], ddf)[0, 0] - frames[1])[8:-8, 8:-8].abs().mean()
    assert after < 0.3 * before


@pytest.mark.parametrize(
    ("method", "bundle", "options"), [("farneback", "farneback", {}), ("nmsr", "nmsr_echo", QUICK)]
)
def test_it_is_the_bundles_field(frames, method, bundle, options, tmp_path):
    """Of a cine that is read, in the sector that the bundle registers, with the bundle's seed."""
    lit = frames.clone()
    lit[:, :20, :24] = 0  # a corner that is no sector
    write_cine(tmp_path / "cine.nii.gz", lit[None])
    settings = {"input": str(tmp_path / "cine.nii.gz"), "output_dir": str(tmp_path / "out")}
    run_here(f"{bundle}/configs/inference.json", **settings, save_figures=False, mlflow=False, **options)
    torch.manual_seed(99)
    drawn = torch.random.get_rng_state()
    found = register(read_cine(tmp_path / "cine.nii.gz"), method, **options).ddf
    assert torch.allclose(found, load_ddf(tmp_path / "out/cine/ddf.nii.gz"), atol=1e-5)
    assert torch.random.get_rng_state().equal(drawn), "the caller's random numbers go on as without it"
    assert not list(tmp_path.glob(".*")), "no unfinished stages are left"


def test_volumes_of_other_grids_meet_on_the_fixed_one(tmp_path):
    """The moving volume begins two voxels further and has thinner slices: the same head, so nothing moves."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in (36, 40, 34)), indexing="ij"))

    def head(at):
        return 500 + 100 * (
            np.sin(at[0] / 2.1 + np.cos(at[1] / 3)) + np.sin(at[1] / 2.7) + np.sin(at[2] / 2.4 + at[0] / 5)
        )

    affine, thin = np.eye(4), np.diag([1.0, 1.0, 0.5, 1.0])
    thin[:3, 3] = [2.0, 0.0, 0.0]
    fine = np.stack(np.meshgrid(np.arange(34.0), np.arange(40.0), np.arange(68.0), indexing="ij"))
    world = np.einsum("ij,jxyz->ixyz", thin[:3, :3], fine) + thin[:3, 3].reshape(3, 1, 1, 1)
    fixed = read_volume(save(tmp_path / "fixed.nii.gz", head(grid), affine))
    moving = read_volume(save(tmp_path / "moving.nii.gz", head(world), thin))
    ddf = register((moving, fixed), "ssmsr", steps=15).ddf
    assert ddf.shape == (1, 3, 36, 40, 34) and ddf[..., 6:-6, 6:-6, 6:-6].abs().mean() < 0.1
    shifted = register((moving.as_tensor()[0, :, :, :34], fixed.as_tensor()[0, :34]), "ssmsr", steps=15).ddf
    assert shifted.abs().mean() > 0.3, "as arrays they have no place, and differ"


def test_a_mask_is_where_it_registers(frames):
    mask = torch.zeros(64, 72, dtype=torch.bool)
    mask[:, 36:] = True
    whole, part = (register((frames[0], frames[1]), "nmsr", mask=m, **QUICK).ddf for m in (None, mask))
    assert not whole.allclose(part)


@pytest.mark.parametrize(
    ("images", "settings", "words"),
    [
        (torch.rand(3, 32, 32), {"method": "diss"}, "did you mean dis"),
        (torch.rand(3, 32, 32), {"method": "ssmsr"}, "in 2D"),
        ((torch.rand(9, 32, 32), torch.rand(9, 32, 32)), {}, "in 3D"),
        (torch.rand(3, 32, 32), {"method": "dis", "sped": "fast"}, "no option --sped; did you mean --speed"),
        (torch.rand(3, 32, 32) * 255, {}, r"expected \[0, 1\]"),
        (torch.rand(3, 32, 32) / 0, {}, "not finite"),
        (torch.rand(1, 1, 32, 32), {}, "at least two"),
        (torch.rand(2, 3, 32, 32), {}, "expected a cine"),
        (torch.rand(32, 32), {}, "expected a cine"),
        ((torch.rand(32, 32), torch.rand(32, 33)), {}, "of the same shape"),
        ((torch.rand(32, 32),) * 3, {}, "3 images"),
        (torch.rand(3, 32, 32), {"mask": torch.ones(9, 9)}, "mask: shape"),
        (torch.rand(3, 32, 32), {"method": "dis", "bundles": "nowhere"}, "no bundles in nowhere"),
    ],
)
def test_what_cannot_be_registered_is_refused(images, settings, words):
    with pytest.raises(InputError, match=words):
        register(images, **settings)


def test_bytes_are_scaled(frames):
    bytes_ = (frames * 255).round().byte()
    assert torch.allclose(register(bytes_, "dis").ddf, register(bytes_ / 255, "dis").ddf)


def test_every_method_names_files_that_are_there():
    from cardiac_motion.bundle.registration_methods import method_files

    for name, method in METHODS.items():
        for dimensions in method.dimensions():
            assert all(path.is_file() for path in method_files(name, dimensions))
