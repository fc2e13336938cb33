"""What is kept of a cine gives the same strain as what was found; walls drawn at any frame."""

import dataclasses
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineMeta
from cardiac_motion.cine.square import FrameGrid
from cardiac_motion.cine.wall_files import read_drawn_walls
from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline import cache as K
from cardiac_motion.strain_pipeline.measures.measures import SWITCHED_OFF, StrainMeasures
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, ncc_after_warp
from cardiac_motion.strain_pipeline.tracking.wall import Segmented, walls_of
from cardiac_motion.ventricle.contours import LAYERS
from tests.strain_pipeline.test_pipeline import SHARE, fields, heart, labels_at  # noqa: F401

LIKELY = ViewProbabilities({"apical_4ch": 0.9}, 6.0)


@pytest.fixture
def folder(heart, tmp_path):  # noqa: F811
    case, _ = heart
    labels = np.stack([labels_at(s) for s in SHARE])
    areas = (labels == 1).sum((1, 2)).astype(float)
    seen = np.ones(labels.shape[1:], bool)
    K.write_cine_cache(tmp_path, case, seen, LIKELY)
    K.write_segmented(tmp_path, Segmented(torch.from_numpy(labels), areas, *walls_of(labels, 120)))
    K.write_motion(tmp_path / "m", RegistrationResult(fields(), seconds=1.5), "known")
    return tmp_path


def again(folder, **said):
    off = said.pop("exclude_segments", None)
    kept = K.replace_entry(K.read_cache(folder, folder / "m"), **said)
    return K.measure_cached(kept, StrainMeasures(min_lncc2=-1.0, exclude_segments=off), Fusion(wall_motion="midwall"))


def test_what_is_kept_gives_the_strain_of_the_motion(folder):
    study = again(folder)
    assert study.measured.means["gls"] == pytest.approx(-20, abs=0.8)
    assert K.read_cache(folder, folder / "m").result.seconds == 1.5
    kept = K.read_case(folder)[0]
    torch.testing.assert_close(kept.image[3, 1], kept.image[4, 0])


def test_a_full_disk_leaves_the_arrays_that_are_there(folder, small_disk):
    before = {path: path.read_bytes() for path in folder.rglob("*.npy")}
    with pytest.raises(InputError, match=r"ddf\.npy: cannot be written \("), small_disk():
        K.write_motion(folder / "m", RegistrationResult(2 * fields()), "other")
    assert {path: path.read_bytes() for path in folder.rglob("*.npy")} == before


@pytest.mark.parametrize(("energy", "seen_as"), [(0.5, "0.5"), (float("nan"), "nan")])
def test_a_cached_cine_unlike_the_training_is_refused(folder, heart, energy, seen_as):  # noqa: F811
    seen = K.read_case(folder)[2]
    K.write_cine_cache(folder, heart[0], seen, replace(LIKELY, energy=energy))
    with pytest.raises(InputError, match=f"like what was trained on {seen_as}"):
        again(folder)


def test_a_cache_without_the_energy_is_read_as_no_cache(folder):
    about = json.loads((folder / K.ABOUT).read_text(encoding="utf-8"))
    (folder / K.ABOUT).write_text(json.dumps(about | {"probabilities": {"apical_4ch": 0.9}}), encoding="utf-8")
    with pytest.raises(InputError, match="no cached data of this cine"):
        K.read_case(folder)


def test_the_cache_keeps_every_value_of_a_cine_and_of_its_fields(folder, heart):  # noqa: F811
    case, (_, probabilities, seen) = heart[0], K.read_case(folder)
    assert probabilities == LIKELY and seen.shape == case.size
    said = {
        "r_waves": [0.1, 0.9],
        "notes": ["a note"],
        "regions": [{"x0": 1}],
        "zoom": (1.0, 0.5),
        "crop": (0, 0, 9, 9),
    }
    cine = MetaTensor(case.cine.as_tensor(), meta={**case.cine.meta, **said})
    K.write_cine_cache(folder, replace(case, cine=cine), seen, LIKELY)
    assert asdict(K.read_case(folder)[0].meta) == asdict(CineMeta.from_cine(cine))
    whole = RegistrationResult(fields(), (), torch.rand(13, 1, 4, 4), torch.rand(13, 2, 4, 4), 1.5, 2.5)
    K.write_motion(folder / "whole", whole, "all values")
    read = K.read_motion(folder / "whole")
    for field in dataclasses.fields(RegistrationResult):
        assert getattr(whole, field.name) is not None
        torch.testing.assert_close(getattr(read, field.name), getattr(whole, field.name), msg=field.name)


def test_a_wall_on_a_grid_comes_back_from_the_cache(folder):
    found = K.read_segmented(folder)
    assert found.grid is None
    grid = FrameGrid((120, 130), tuple(found.labels.shape[1:]), 1.5, 2.0, 0.9)
    (folder / "gridded").mkdir()
    K.write_segmented(folder / "gridded", replace(found, grid=grid, reasons={3: "why"}))
    read = K.read_segmented(folder / "gridded")
    assert read.grid == grid and read.reasons == {3: "why"}


@pytest.mark.parametrize("frame", [0, 7, 12])
def test_a_wall_drawn_at_any_frame_is_where_the_tracked_one_is(folder, frame, tmp_path):
    lines = again(folder).tracked[0].lines[frame] + [0.0, 1.5]
    path = tmp_path / "drawn.json"
    path.write_text(
        json.dumps({"drawn": [frame], **{n: [lines[k].tolist()] for k, n in enumerate(LAYERS)}}), encoding="utf-8"
    )
    study = again(folder, contour=str(path), ed=0)
    assert study.wall.drawn == (frame,)
    off = np.abs(study.tracked[0].lines[frame][:, 20:-20] - lines[:, 20:-20])
    assert off.max() < 0.5  # pixels, after smoothing in time
    assert study.measured.means["gls"] == pytest.approx(-20, abs=1.0)


def test_drawn_lines_that_do_not_fit_are_refused(folder, tmp_path):
    path = tmp_path / "drawn.json"
    lines = again(folder).tracked[0].lines[0]
    for wrong in (lines[:, :50], lines + 500, lines[::-1]):
        path.write_text(
            json.dumps({"drawn": [0], **{n: [wrong[k].tolist()] for k, n in enumerate(LAYERS)}}), encoding="utf-8"
        )
        with pytest.raises(InputError):
            read_drawn_walls(path, (120, 120), 120)
    path.write_text(json.dumps({"endocardium": lines[0].tolist()}), encoding="utf-8")
    assert read_drawn_walls(path, (120, 120), 120) == {}


def test_a_segment_switched_off_is_left_out_of_gls(folder):
    study = again(folder, exclude_segments=["apical inferoseptal"])
    rejected = {s["name"]: s["rejected"] for s in study.measured.beats[0]["segments"]}
    assert [name for name, why in rejected.items() if why == SWITCHED_OFF] == ["apical inferoseptal"]
    with pytest.raises(InputError, match="apical four-chamber has"):
        again(folder, exclude_segments=["basal anterior"])


def test_ncc_in_a_box_is_that_of_the_whole_picture():
    image = torch.rand(2, 2, 60, 70, generator=torch.Generator().manual_seed(0))
    ddf = torch.randn(2, 2, 60, 70, generator=torch.Generator().manual_seed(1))
    whole = ncc_after_warp(image, ddf, 3)
    part = ncc_after_warp(image, ddf, 3, (slice(10, 50), slice(20, 65)))
    torch.testing.assert_close(part[..., 3:-3, 3:-3], whole[..., 13:47, 23:62], atol=1e-4, rtol=0)


def test_a_cache_of_another_schema_is_refused(folder):
    about = json.loads((folder / K.ABOUT).read_text(encoding="utf-8"))
    (folder / K.ABOUT).write_text(json.dumps({**about, "schema": about["schema"] + 1}), encoding="utf-8")
    with pytest.raises(InputError, match="no cached data of this cine"):
        K.read_case(folder)
