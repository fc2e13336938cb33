"""Hostile and broken requests: each ends with 4xx and a reason, and nothing is written outside the studies."""

import gzip
import json
import os
import struct
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.monailabel.serving import ROOT, form, tree

UP = "..%2F..%2F"
CINE = b"not a NIfTI file at all"


def params(**values):
    return form(params=json.dumps(values))


def image_form(name, content, **fields):
    return form(file=(name, content), **fields)


def label_form(name, content):
    return form(label=(name, content), params="{}")


def huge_header():
    """A NIfTI header that promises 30,000 × 30,000 × 1,000 doubles, and nothing behind it."""
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4))
    content = bytearray(image.to_bytes())
    struct.pack_into("<8h", content, 40, 3, 30_000, 30_000, 1_000, 1, 1, 1, 1)
    return gzip.compress(bytes(content))


def volume(shape):
    """A valid NIfTI file of ones."""
    return gzip.compress(nibabel.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)).to_bytes())


INFER = "/infer/farneback?image=speckle"
STRAIN = "/infer/strain_pipeline?image=apical_4ch"
HOSTILE = {
    "image: a path": ("POST", "/infer/farneback?image=%2Fetc%2Fpasswd", params(), 404),
    "image: a path upwards": ("POST", f"/infer/farneback?image={UP}secret", params(), 404),
    "image: a file of the studies": ("POST", "/infer/farneback?image=FOLDER%2Fspeckle.nii.gz", params(), 404),
    "image: a file URL": ("POST", "/infer/farneback?image=file%3A%2F%2F%2Fetc%2Fpasswd", params(), 404),
    "image: a null byte": ("POST", "/infer/farneback?image=speckle%00", params(), 404),
    "image: none": ("POST", "/infer/farneback", params(), 404),
    "image: unknown": ("POST", "/infer/farneback?image=nobody", params(), 404),
    "image: a link that leads out": ("POST", "/infer/farneback?image=link", params(), 404),
    "image: in the params": ("POST", INFER, params(image="/etc/passwd"), 400),
    "second image: a path": ("POST", INFER, params(second="../secret"), 404),
    "model: unknown": ("POST", "/infer/nothing?image=speckle", params(), 404),
    "model: a path": ("POST", f"/infer/{UP}bundles?image=speckle", params(), 404),
    "model: in the params": ("POST", INFER, params(model="strain_pipeline"), 400),
    "model file": ("POST", INFER, params(model_filename="/etc/passwd"), 400),
    "weights: a path": ("POST", STRAIN, params(weights="/etc/passwd"), 400),
    "preset: a path": ("POST", STRAIN, params(preset="../../../secret"), 400),
    "preset: code": ("POST", STRAIN, params(preset="$import os"), 400),
    "option of the bundle: code": ("POST", STRAIN, params(jerk="$__import__('os').system('touch owned')"), 400),
    "option of the bundle: where it writes": ("POST", INFER, params(output_dir="/tmp"), 400),
    "value: code": ("POST", STRAIN, params(layer="$open('owned', 'w')"), 400),
    "value: a reference": ("POST", STRAIN, params(ed="@evaluator"), 400),
    "value: not a number": ("POST", INFER, form(params='{"max_frames": NaN}'), 400),
    "value: huge": ("POST", INFER, form(params='{"max_frames": 1e999}'), 400),
    "spacing: negative": ("POST", INFER, params(spacing=[-1, 1]), 400),
    "save_label": ("POST", INFER, params(save_label=True, label_tag="../../../owned"), 400),
    "params: not JSON": ("POST", INFER, form(params="{'a': 1"), 400),
    "params: a list": ("POST", INFER, form(params="[1, 2]"), 400),
    "params: nested without end": ("POST", INFER, form(params="[" * 50_000), 400),
    "params: endless": ("POST", INFER, form(params='{"a": "' + "x" * 100_000 + '"}'), 400),
    "output: unknown": ("POST", f"{INFER}&output=dicom_seg", params(), 400),
    "form: broken": ("POST", INFER, (b"--x\r\nbroken", {"Content-Type": "multipart/form-data; boundary=x"}), 400),
    "form: too many files": ("POST", INFER, form(**{f"file{i}": ("a.nii", b"x") for i in range(9)}), 400),
    "label: a script": ("POST", STRAIN, form(params="{}", label=("evil.py", b"import os")), 415),
    "label: not one": ("POST", STRAIN, form(params="{}", label=("contour.nii.gz", CINE)), 422),
    "label: of a model without": ("POST", INFER, form(params="{}", label=("contour.json", b"[]")), 400),
    "upload: id upwards": ("PUT", f"/datastore/?image={UP}owned", image_form("a.nii.gz", CINE), 400),
    "upload: id absolute": ("PUT", "/datastore/image?image=%2Ftmp%2Fowned", image_form("a.nii.gz", CINE), 400),
    "upload: id of the server's own files": ("PUT", "/datastore/?image=.motion", image_form("a.nii.gz", CINE), 400),
    "upload: id with a null byte": ("PUT", "/datastore/?image=a%00b", image_form("a.nii.gz", CINE), 400),
    "upload: name upwards, no id": ("PUT", "/datastore/", image_form("../../..nii.gz", CINE), 400),
    "upload: a script": ("PUT", "/datastore/?image=owned", image_form("evil.sh", b"#!/bin/sh"), 415),
    "upload: the list": ("PUT", "/datastore/?image=datastore_v2", image_form("datastore_v2.json", b"{}"), 415),
    "upload: no image": ("PUT", "/datastore/?image=owned", image_form("owned.nii.gz", CINE), 422),
    "upload: no DICOM": ("PUT", "/datastore/?image=owned", image_form("owned.dcm", b"\0" * 200), 422),
    "upload: truncated": ("PUT", "/datastore/?image=owned", image_form("owned.nii.gz", volume((64, 64, 9))[:-40]), 422),
    "upload: promises terabytes": ("PUT", "/datastore/?image=owned", image_form("owned.nii.gz", huge_header()), 422),
    "upload: empty": ("PUT", "/datastore/?image=owned", image_form("owned.nii.gz", b""), 422),
    "upload: nothing": ("PUT", "/datastore/?image=owned", form(params="{}"), 400),
    "upload: taken": ("PUT", "/datastore/?image=speckle", image_form("speckle.nii.gz", CINE), 409),
    "upload: too large": ("PUT", "/datastore/?image=owned", (b"", {"Content-Length": str(10**12)}), 413),
    "save: tag upwards": ("PUT", f"/datastore/label?image=speckle&tag={UP}owned", label_form("a.nii.gz", CINE), 400),
    "save: tag absolute": ("PUT", "/datastore/label?image=speckle&tag=%2Ftmp", label_form("a.nii.gz", CINE), 400),
    "save: of an image upwards": ("PUT", f"/datastore/label?image={UP}owned", label_form("a.nii.gz", CINE), 404),
    "save: of no image": ("PUT", "/datastore/label?image=nobody", label_form("a.nii.gz", CINE), 404),
    "save: no label": ("PUT", "/datastore/label?image=speckle", label_form("a.nii.gz", CINE), 422),
    "save: of another size": ("PUT", "/datastore/label?image=speckle", label_form("a.nii.gz", volume((9, 9, 4))), 422),
    "save: another format": ("PUT", "/datastore/label?image=speckle", label_form("a.seg.nrrd", CINE), 415),
    "read: image upwards": ("GET", f"/datastore/image?image={UP}secret", (b"", {}), 404),
    "read: label tag upwards": ("GET", f"/datastore/label?label=speckle&tag={UP}", (b"", {}), 404),
    "read: result upwards": ("GET", f"/result/{UP}secret/a", (b"", {}), 404),
    "read: file of a result upwards": ("GET", f"/result/{'0' * 32}/{UP}secret", (b"", {}), 404),
    "delete: image upwards": ("DELETE", f"/datastore/image?id={UP}secret", (b"", {}), 404),
    "delete: label tag upwards": ("DELETE", f"/datastore/label?id=speckle&tag={UP}studies", (b"", {}), 404),
    "session: upwards": ("DELETE", f"/session/{UP}secret", (b"", {}), 404),
    "session: not an image": ("PUT", "/session/", form(files=("../../owned.nii.gz", CINE)), 422),
    "session: an archive": ("PUT", "/session/?uncompress=true", form(files=("owned.zip", b"PK")), 415),
    "train: unknown": ("POST", "/train/nothing", (b"{}", {}), 404),
    "train: weights of someone else": ("POST", "/train/strain_pipeline", (b'{"start": "/etc/passwd"}', {}), 400),
    "train: for ever": ("POST", "/train/strain_pipeline", (b'{"epochs": 1000000000}', {}), 400),
    "train: code": ("POST", "/train/strain_pipeline", (b'{"size": "$exit()"}', {}), 400),
    "train: nothing labelled": ("POST", "/train/strain_pipeline", (b"{}", {}), 409),
    "strategy: unknown": ("POST", "/activelearning/nothing", (b"{}", {}), 404),
    "a page of another origin": ("POST", INFER, (b"", {"Origin": "https://example.org"}), 403),
    "another host name": ("GET", "/info/", (b"", {"Host": "example.org"}), 400),
    "model files": ("GET", "/model/strain_pipeline", (b"", {}), 404),
    "logs": ("GET", "/logs/", (b"", {}), 404),
    "proxy": ("GET", "/proxy/dicom/x", (b"", {}), 404),
    "viewer files": ("GET", f"/ohif/{UP}etc/passwd", (b"", {}), 404),
    "reload": ("POST", "/reload", (b"", {}), 404),
}  # fmt: skip


@pytest.fixture(scope="module")
def besieged(server):
    """The server, with a secret beside its studies and a link to it among them."""
    (server.folder / "secret.nii.gz").write_bytes((server.folder / "studies" / "speckle.nii.gz").read_bytes())
    link = server.folder / "studies" / "link.nii.gz"
    link.symlink_to(server.folder / "secret.nii.gz")
    yield server
    link.unlink()


def outside(server):
    """What lies outside the server's own: beside the studies, in the temporary folder, in the repository."""
    log = Path(server.log.name)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    return tree(server.folder, leave_out=[server.folder / "studies", log]), changed.stdout


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_with_a_reason_and_without_a_trace(besieged, name):
    method, target, (body, headers), status = HOSTILE[name]
    before, studies = outside(besieged), tree(besieged.folder / "studies", [besieged.folder / "studies" / ".motion"])
    found, content = besieged.ask(
        method, target.replace("FOLDER", str(besieged.folder).replace("/", "%2F")), body, headers
    )
    assert found == status, content
    if content and content[:1] == b"{":
        reason = json.loads(content)["detail"]
        assert reason and "Traceback" not in str(reason)
        assert str(besieged.folder) not in str(reason) or "%2F" in target
    else:
        assert name == "another host name"
    assert outside(besieged) == before
    assert tree(besieged.folder / "studies", [besieged.folder / "studies" / ".motion"]) == studies


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 25


def test_body_without_a_length_is_counted(besieged):
    def endless():
        for _ in range(200):
            yield b"x" * 2**20

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    try:
        status, _ = besieged.ask("PUT", "/datastore/?image=owned", endless(), headers)
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed before all was sent
    assert status in (400, 413)
    assert besieged.ask("GET", "/datastore/")[0] == 200


def test_it_still_works_after_all_that(besieged):
    body, headers = params()
    assert besieged.ask("POST", INFER, body, headers)[0] == 200


def test_listens_on_this_machine_alone(besieged):
    lines = Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]
    port = f"{besieged.port:04X}"
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


def test_studies_elsewhere_are_refused(tmp_path):
    import sys

    for words, said in [
        (["--studies", "http://127.0.0.1:1/dicom"], "local folder"),
        (["--studies", str(tmp_path), "--conf", "bundles", "../x"], "there is none"),
        (["--studies", str(tmp_path), "--conf", "nothing", "1"], "unknown"),
    ]:
        ended = subprocess.run(
            [sys.executable, "apps/monailabel", *words],
            cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        assert ended.returncode == 1 and ended.stderr.strip().splitlines()[-1].startswith("error:"), ended.stderr
        assert said in ended.stderr
