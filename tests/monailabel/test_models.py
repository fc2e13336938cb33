"""Each bundle through MONAI Label's own client: fields, labels, numbers, contours, reports."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from tests.conftest import moving_cine, rotation
from tests.monailabel.serving import form, write_cine_file


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server.url, tmpdir=str(tmp_path))


@pytest.fixture(scope="module")
def strain(server, tmp_path_factory):
    """The strain pipeline's answer for the sample cine: its label file and its numbers."""
    folder = tmp_path_factory.mktemp("strain")
    return MONAILabelClient(server.url, tmpdir=str(folder)).infer("strain_pipeline", "apical_4ch", {"contour": "none"})


def test_info_names_models_as_a_viewer_needs_them(client):
    info = client.info()
    kinds = {name: model["type"] for name, model in info["models"].items()}
    assert kinds == {
        "nmsr_echo": "others", "ssmsr_hippocampus": "segmentation", "cpwc_echo": "others",
        "strain_pipeline": "segmentation", "farneback": "others",
    }  # fmt: skip
    assert info["models"]["strain_pipeline"]["labels"] == {"lv_cavity": 1, "myocardium": 2, "left_atrium": 3}
    assert set(info["trainers"]) == {"strain_pipeline"} and set(info["strategies"]) == {
        "most_uncertain",
        "first",
        "random",
    }
    assert info["datastore"]["total"] == 4


def mean_error(file, size, margin):
    """Mean distance of a field from the true motion of the turning speckle, and from none, ``margin`` pixels inside."""
    field = np.moveaxis(sitk.GetArrayFromImage(sitk.ReadImage(file)), -1, 1)[:, ::-1]  # [pair, (row, column), …]
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    points = torch.stack([rows, columns], -1)
    truth = (rotation(points, -moving_cine()[1], size) - points).movedim(-1, 0)[None].numpy()
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    return [float(np.linalg.norm((found - truth)[inner], axis=1).mean()) for found in (field, 0 * field)]


@pytest.mark.parametrize("model", ["cpwc_echo", "nmsr_echo"])
def test_field_is_a_vector_image_and_the_true_motion(client, model):
    file, params = client.infer(model, "speckle", {})
    image = sitk.ReadImage(file)
    assert image.GetSize() == (80, 72, 3) and image.GetNumberOfComponentsPerPixel() == 2
    error, still = mean_error(file, (72, 80), 16)
    assert error < 0.35 * still, (error, still)
    assert params["metrics"]["lncc2"] > 0 and params["spacing"] == [0.5, 0.5] and params["source"] == "speckle"


def test_strain_gives_labels_over_the_cine_numbers_and_a_report(server, strain):
    file, params = strain
    labels, cine = nibabel.load(file), nibabel.load(server.folder / "studies" / "apical_4ch.nii.gz")
    assert labels.shape == cine.shape and np.allclose(labels.affine, cine.affine)
    values = np.asarray(labels.dataobj)
    assert set(np.unique(values)) <= {0, 1, 2, 3}
    assert all((values == 1).any((0, 1))) and (values == 2).any()
    assert -35 < params["metrics"]["gls"] < -5
    status, html = server.ask("GET", params["files"]["report.html"])
    assert status == 200 and b"Left ventricular strain" in html
    assert str(server.folder).encode() not in html and str(server.folder) not in json.dumps(params)
    assert server.ask("GET", params["files"]["movie.mp4"])[1][4:8] == b"ftyp"


def test_dicom_keeps_frame_times_and_leaves_a_structured_report(server, client):
    file, params = client.infer("strain_pipeline", "apical_4ch_dicom", {"view": "A4C"})
    assert sitk.ReadImage(file).GetSize() == (params["size"][1], params["size"][0], params["frames"])
    assert params["frame_times"][1] == pytest.approx(0.0333, abs=1e-3) and params["view_given"]
    status, content = server.ask("GET", params["files"]["sr.dcm"])
    assert status == 200 and content[128:132] == b"DICM"


def test_saved_contour_is_used_by_the_next_strain_request(server, client, strain, tmp_path):
    file, before = strain
    stored = nibabel.load(file)
    values = np.asarray(stored.dataobj).copy()
    ed = before["beats"][0]["ed"]
    values[..., [t for t in range(values.shape[2]) if t != ed]] = 0  # one corrected frame: that is end-diastole
    thicker = tmp_path / "corrected.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, stored.affine), thicker)
    client.save_label("apical_4ch", str(thicker), "final")
    _, after = client.infer("strain_pipeline", "apical_4ch", {})
    assert after["contour"] and [beat["ed"] for beat in after["beats"]] == [ed]
    assert after["metrics"]["gls"] != before["metrics"]["gls"]
    _, without = client.infer("strain_pipeline", "apical_4ch", {"contour": "none", "save_figures": False})
    assert without["contour"] is None and without["metrics"]["gls"] == pytest.approx(before["metrics"]["gls"])
    assert server.json("DELETE", "/datastore/label?id=apical_4ch&tag=final")[0] == 200
    assert "final" not in client.datastore()["objects"]["apical_4ch"]["labels"]


def test_contour_comes_with_the_request(client, strain, tmp_path):
    _, before = strain
    ed = before["beats"][0]["ed"]
    height, width = before["size"]
    points = [[0.72 * height, 0.42 * width], [0.4 * height, 0.47 * width], [0.72 * height, 0.54 * width]]
    fine = [np.linspace(points[k], points[k + 1], 20, endpoint=k == 1) for k in (0, 1)]
    contour = tmp_path / "contour.json"
    contour.write_text(json.dumps({"endocardium": np.concatenate(fine).tolist()}), encoding="utf-8")
    _, params = client.infer("strain_pipeline", "apical_4ch", {"ed": ed, "save_figures": False}, label_in=str(contour))
    assert params["contour"] == "label.json" and params["beats"][0]["ed"] == ed
    _, tracked = client.infer("cpwc_echo", "apical_4ch", {"max_frames": 6}, label_in=str(contour))
    assert "gls" in tracked["metrics"]


def test_volume_is_segmented_by_the_atlases(server, client):
    file, params = client.infer("ssmsr_hippocampus", "hippocampus_synthetic", {})
    image = sitk.ReadImage(file)
    source = sitk.ReadImage(str(server.folder / "studies" / "hippocampus_synthetic.nii.gz"))
    assert image.GetSize() == source.GetSize() and params["voxels"]["head"] > 100
    field = server.ask("GET", params["files"]["ddf.nii.gz"])[1]
    path = server.folder / "field.nii.gz"
    path.write_bytes(field)
    assert sitk.ReadImage(str(path)).GetNumberOfComponentsPerPixel() == 3
    _, scored = client.infer("ssmsr_hippocampus", "hippocampus_synthetic", {}, label_in=file)
    assert scored["metrics"]["dice"] == pytest.approx(1)


def test_second_image_by_its_id(server, client):
    cine = nibabel.load(server.folder / "studies" / "speckle.nii.gz")
    for t, name in ((0, "first"), (2, "last")):
        path = server.folder / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.asarray(cine.dataobj)[..., t], np.eye(4)), path)
        shutil.copyfile(path, server.folder / "studies" / path.name)
    file, params = client.infer("farneback", "first", {"second": "last"})
    assert sitk.ReadImage(file).GetSize()[:2] == (80, 72) and params["frames"] == 2
    for name in ("first", "last"):
        (server.folder / "studies" / f"{name}.nii.gz").unlink()


def test_blood_between_two_masks_of_a_label(server, client, tmp_path):
    studies = server.folder / "studies"
    write_cine_file(studies / "pool.nii.gz", size=(160, 176))
    x, y = np.mgrid[:176, :160]
    labels = np.zeros((176, 160, 4), np.uint8)
    labels[(x - 88) ** 2 + (y - 80) ** 2 < 60**2] = 1
    mask = tmp_path / "cavity.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), mask)
    with pytest.raises(MONAILabelClientException) as refused:
        client.infer("nmsr_echo", "pool", {}, label_in=str(mask))
    assert "tracking blood needs ed, es" in refused.value.msg
    file, masked = client.infer("nmsr_echo", "pool", {"ed": 0, "es": 3}, label_in=str(mask))
    error, still = mean_error(file, (160, 176), 45)
    assert error < 0.5 * still, (error, still)
    _, whole = client.infer("nmsr_echo", "pool", {})
    assert masked["metrics"]["lncc2"] != whole["metrics"]["lncc2"]
    (studies / "pool.nii.gz").unlink()


def test_file_and_session_instead_of_an_image_of_the_studies(server, client, tmp_path):
    path = str(server.folder / "studies" / "speckle.nii.gz")
    _, by_id = client.infer("farneback", "speckle", {})
    _, by_file = client.infer("farneback", "", {}, file=path)
    session = client.create_session(path)["session_id"]
    _, by_session = client.infer("farneback", "", {}, session_id=session)
    assert by_id["metrics"]["lncc2"] == by_file["metrics"]["lncc2"] == by_session["metrics"]["lncc2"]
    client.remove_session(session)
    with pytest.raises(MONAILabelClientException) as refused:
        client.infer("farneback", "", {}, session_id=session)
    assert "404" in refused.value.msg


def test_upload_download_and_delete(server, client, tmp_path):
    path = server.folder / "studies" / "speckle.nii.gz"
    assert client.upload_image(str(path), "uploaded") == {"image": "uploaded"}
    status, content = server.ask("GET", "/datastore/image?image=uploaded")
    assert status == 200 and content == path.read_bytes()
    with pytest.raises(MONAILabelClientException) as refused:
        client.upload_image(str(path), "uploaded")
    assert "409" in refused.value.msg
    assert server.json("DELETE", "/datastore/image?id=uploaded")[0] == 200
    assert not (server.folder / "studies" / "uploaded.nii.gz").exists()


@pytest.mark.parametrize("output", ["json", "image"])
def test_output_alone(server, output):
    body, headers = form(params="{}")
    status, content = server.ask("POST", f"/infer/farneback?image=speckle&output={output}", body, headers)
    assert status == 200
    if output == "json":
        assert json.loads(content)["method"] == "farneback"
    else:
        assert content[:2] == b"\x1f\x8b"  # a compressed NIfTI


def test_what_the_user_gets_wrong_is_one_line(client):
    for model, image, params, said in [
        ("strain_pipeline", "speckle", {}, "422"),
        ("farneback", "hippocampus_synthetic", {}, "422"),
        ("strain_pipeline", "apical_4ch", {"ed": 400}, "422"),
        ("ssmsr_hippocampus", "speckle", {"preset": "nmsr"}, "400"),
    ]:
        with pytest.raises(MONAILabelClientException) as refused:
            client.infer(model, image, params)
        assert said in refused.value.msg and "Traceback" not in refused.value.msg, refused.value.msg
        assert refused.value.msg.count("\n") == 0 and "/tmp" not in refused.value.msg


def test_results_are_not_left_in_the_temporary_folder(server):
    assert list(Path(server.folder / "tmp").glob("*.nii*")) == []
