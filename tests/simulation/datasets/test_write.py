import json

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.simulation.__main__ import main
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.heart.anatomy import left_ventricle
from cardiac_motion.simulation.sequence import draw
from tests.simulation.heart.test_template import stored
from tests.ventricle.test_mesh import painted

SETTINGS = {"shape": [64, 48], "scatterers": 5000}


def arguments(folder, *more, place="--here"):
    settings = folder.parent / "settings.json"
    settings.write_text(json.dumps(SETTINGS), encoding="utf-8")
    return ["write", "--output_dir", str(folder), "--settings", str(settings), "--frames", "6", "--seed", "3", *more,
            *place.split()]  # fmt: skip


def test_cases_hold_what_they_say(tmp_path):
    out = tmp_path / "out"
    main(arguments(out, "--count", "2"))
    datalist = json.loads((out / "datalist.json").read_text(encoding="utf-8"))
    assert len(datalist["training"]) == 2 and datalist["recipe"]["seed"] == 3
    entry = datalist["training"][0]
    cine = read_cine(out / entry["image"])
    assert cine.shape == (1, 6, 64, 48)
    summary = json.loads((out / entry["summary"]).read_text(encoding="utf-8"))
    assert cine.meta["spacing"] == pytest.approx(summary["spacing"], rel=1e-5)
    assert entry["spacing"] == summary["spacing"]
    np.testing.assert_allclose(cine.meta["frame_times"], summary["frame_times"], atol=1e-6)

    simulation, _ = draw(TemplateSource(views=["apical_4ch"])(0, (3,)), (3, 0), settings_from(SETTINGS), 6)
    torch.testing.assert_close(cine.as_tensor()[0], torch.cat(list(simulation.chunks())), atol=1e-5, rtol=0)
    stored_ddf, forward = (load_ddf(out / entry[key]) for key in ("ddf", "forward"))
    assert stored_ddf.shape == (5, 2, 64, 48)
    image = nibabel.load(out / entry["ddf"])
    assert image.header["intent_code"] == 1007 and image.shape == (48, 64, 5, 1, 2)
    for t in range(5):
        (pull_back,), mask = simulation.fields(t + 1, [t])
        (push,), _ = simulation.fields(t, [t + 1])
        torch.testing.assert_close(stored_ddf[t].float(), pull_back, atol=6e-4, rtol=0)
        torch.testing.assert_close(forward[t].float(), push, atol=6e-4, rtol=0)
        stored_mask = np.asarray(nibabel.load(out / entry["mask"]).dataobj)[..., t].T
        np.testing.assert_array_equal(stored_mask, mask[0].numpy())
    labels = np.asarray(nibabel.load(out / entry["label"]).dataobj)
    assert labels.shape == (48, 64, 6) and set(np.unique(labels)) == {0, 1, 2}
    contours = json.loads((out / entry["contours"]).read_text(encoding="utf-8"))
    endo = np.asarray(contours["endocardium"]) * summary["spacing"]
    length = np.linalg.norm(np.diff(endo, axis=1), axis=-1).sum(1)
    np.testing.assert_allclose(length / length[0] - 1, summary["strain"]["global"], atol=1e-4)


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path):
    out = tmp_path / "out"
    main(arguments(out, "--count", "1"))
    first = out / "0000_apical_4ch" / "cine.nii.gz"
    before = first.stat().st_mtime_ns
    (out / "0001_apical_4ch").mkdir()
    on_a_worker = arguments(out, "--count", "2", "--datalist", str(tmp_path / "list.json"), place="--workers 1")
    main(on_a_worker)
    assert first.stat().st_mtime_ns == before
    assert (out / "0001_apical_4ch" / "summary.json").exists()
    assert len(json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))["training"]) == 2
    assert not list(out.glob(".*"))


def test_another_seed_does_not_mix_into_a_folder(tmp_path):
    out = tmp_path / "out"
    main(arguments(out, "--count", "1"))
    with pytest.raises(InputError, match="0000_apical_4ch: was simulated with another seed"):
        main([*arguments(out, "--count", "1"), "--seed", "9"])


def test_one_bad_template_is_reported_and_the_rest_go_on(tmp_path):
    endo, epi = (contour + [12.0, 66.0] for contour in left_ventricle(length=70, width=40))
    mask = painted(endo, epi, (240, 260))
    stored(tmp_path / "camus", mask, "patient0001")
    stored(tmp_path / "camus", np.where(mask == 2, 0, mask), "patient0002")
    stored(tmp_path / "camus", mask, "patient0003")
    (tmp_path / "split.json").write_text(
        json.dumps({"train": ["patient0001", "patient0002"], "test": ["patient0003"]}), encoding="utf-8"
    )
    out, split = tmp_path / "out", str(tmp_path / "split.json")
    with pytest.raises(InputError, match=r"1 of 3 patients could not be simulated; the first: .*no myocardium"):
        main(arguments(out, "--templates", str(tmp_path / "camus"), "--count", "3", "--split", split))
    datalist = json.loads((out / "datalist.json").read_text(encoding="utf-8"))
    assert [e["image"] for e in datalist["training"]] == ["0000_patient0001/cine.nii.gz"]
    assert [e["image"] for e in datalist["test"]] == ["0002_patient0003/cine.nii.gz"]
    assert not (out / "0001_patient0002").exists()
