import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.simulation.datasets.natural import NaturalPairs, ProceduralPairs, read_flo, read_pfm

FLOW = np.stack([np.full((20, 30), 2.0), np.full((20, 30), -3.0)]).astype(np.float32)  # rows, columns


def scene():
    """A moving image, and the fixed one whose pixel p shows what the moving one has at p + FLOW, in colour."""
    rng = np.random.default_rng(0)
    moving = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    fixed = np.roll(moving, (-2, 3), axis=(0, 1))
    return fixed, moving


def write_flo(path, flow):
    with path.open("wb") as file:
        np.array([202021.25], "<f4").tofile(file)
        np.array(flow.shape[:0:-1], "<i4").tofile(file)
        np.ascontiguousarray(flow[::-1].transpose(1, 2, 0), "<f4").tofile(file)


def write_pfm(path, values, order="<"):
    with path.open("wb") as file:
        file.write(b"PF\n%d %d\n%s\n" % (values.shape[1], values.shape[0], b"-1.0" if order == "<" else b"1.0"))
        values[::-1].astype(f"{order}f4").tofile(file)


@pytest.fixture
def chairs(tmp_path):
    folder = tmp_path / "FlyingChairs_release" / "data"
    folder.mkdir(parents=True)
    fixed, moving = scene()
    imageio.imwrite(folder / "00001_img1.ppm", fixed)
    imageio.imwrite(folder / "00001_img2.ppm", moving)
    write_flo(folder / "00001_flow.flo", FLOW)
    return folder


@pytest.fixture
def things(tmp_path):
    fixed, moving = scene()
    frames = tmp_path / "frames_cleanpass" / "TRAIN" / "A" / "0000" / "left"
    flows = tmp_path / "optical_flow" / "TRAIN" / "A" / "0000" / "into_future" / "left"
    frames.mkdir(parents=True)
    flows.mkdir(parents=True)
    imageio.imwrite(frames / "0006.png", fixed)
    imageio.imwrite(frames / "0007.png", moving)
    values = np.concatenate([FLOW[::-1], np.zeros_like(FLOW[:1])]).transpose(1, 2, 0)
    write_pfm(flows / "OpticalFlowIntoFuture_0006_L.pfm", values)
    write_pfm(flows / "OpticalFlowIntoFuture_0007_L.pfm", values)
    return tmp_path


@pytest.mark.parametrize("kind", ["chairs", "things"])
def test_stored_flow_is_the_pull_back_field_of_its_pair(kind, request):
    (item,) = NaturalPairs(request.getfixturevalue(kind))
    np.testing.assert_array_equal(item["ddf"], FLOW)
    image = item["image"][:, None, None]
    warped = warp(image[0], item["ddf"][None])
    inside = item["mask"][None] > 0
    assert inside.float().mean() > 0.7
    torch.testing.assert_close(warped[inside], image[1][inside], atol=1e-5, rtol=0)
    assert item["spacing"].isnan().all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_float_maps_are_read_top_down_in_either_byte_order(tmp_path, order):
    values = np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)
    write_pfm(tmp_path / "a.pfm", values, order)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), values)


def test_crops_keep_images_and_field_together_and_long_displacements_are_left_out(chairs):
    (item,) = NaturalPairs(chairs, shape=(12, 16), seed=3)
    assert item["image"].shape == (2, 12, 16) and item["ddf"].shape == (2, 12, 16)
    image, inside = item["image"][:, None, None], item["mask"][None] > 0
    torch.testing.assert_close(warp(image[0], item["ddf"][None])[inside], image[1][inside], atol=1e-5, rtol=0)
    assert list(NaturalPairs(chairs, max_displacement=3.0)) == []
    assert len(list(NaturalPairs(chairs, max_displacement=4.0))) == 1


def test_damaged_files_are_named(chairs, things, tmp_path):
    flow = chairs / "00001_flow.flo"
    whole = flow.read_bytes()
    flow.write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"00001_flow\.flo: .* bytes do not match"):
        read_flo(flow)
    flow.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"not a \.flo file"):
        read_flo(flow)
    flow.write_bytes(whole)
    (chairs / "00001_img2.ppm").write_bytes(b"P6")
    with pytest.raises(InputError, match=r"00001_img2\.ppm: cannot be read as an image"):
        list(NaturalPairs(chairs))
    map_ = next(things.rglob("*0006_L.pfm"))
    map_.write_bytes(map_.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"cannot be read as a \.pfm"):
        read_pfm(map_)
    with pytest.raises(InputError, match="cannot be read"):
        read_flo(tmp_path / "none.flo")
    with pytest.raises(InputError, match="has no pairs of FlyingChairs"):
        NaturalPairs(tmp_path / "frames_cleanpass")


def test_procedural_pairs_obey_their_field():
    for number in range(3):
        item = ProceduralPairs((128, 160), seed=2).pair(number)
        assert item["image"].shape == (2, 128, 160)
        image, seen = item["image"][:, None, None], item["mask"][None] > 0
        wrong = (warp(image[0], item["ddf"][None]) - image[1])[seen].abs()
        unmoved = (image[0] - image[1])[seen].abs()
        assert wrong.mean() < 0.15 * unmoved.mean()
        assert 0.6 < seen.float().mean() < 1
        assert 1 < item["ddf"].norm(dim=0).max() < 40


def test_procedural_pairs_are_deterministic_and_shared_out():
    first, again = (list(ProceduralPairs((48, 48), seed=1, length=4)) for _ in range(2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0]["image"], first[1]["image"])
    loader = DataLoader(ProceduralPairs((48, 48), seed=1, length=4), batch_size=1, num_workers=2)
    shared = [item["image"][0] for item in loader]
    assert all(any(torch.equal(a["image"], b) for b in shared) for a in first) and len(shared) == 4
