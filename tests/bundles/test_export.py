"""The export commands of the bundles' pages, as they stand there: TorchScript and ONNX give what the network gives."""

import re
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ckpt_export, onnx_export

from tests.bundles.running import ROOT

EXPORTS = {"ckpt_export": ckpt_export, "onnx_export": onnx_export}
LINE = re.compile(r"^python -m monai\.bundle (ckpt_export|onnx_export) (.*)$", re.MULTILINE)
COMMANDS = [
    (page.parents[1].name, *found)
    for page in sorted((ROOT / "bundles").glob("*/docs/*.md"))
    for found in LINE.findall(page.read_text(encoding="utf-8"))
]
WEIGHTS = {
    f"{path.parents[1].name}/{path.name}"
    for path in (ROOT / "bundles").glob("*/models/*.pt")
    if path.name != "selector.pt"  # voxelmorph's model.pt, exported there
}  # all of them can be exported


def options_of(words):
    """A command's network and options, as MONAI's command line reads them."""
    network, *rest = shlex.split(words)
    names, values = (rest[i::2] for i in (0, 1))
    return {
        "net_id": network,
        **{n.removeprefix("--"): DefaultParseValue(v) for n, v in zip(names, values, strict=True)},
    }


def case(bundle, tool, words):
    options = options_of(words)
    flow = bundle == "cpwc_echo" or options["config_file"] == "bundles/strain_pipeline/configs/inference.json"
    slow = tool == "onnx_export" and flow  # a minute and a half each
    return pytest.param(tool, options, id=f"{tool} {options['ckpt_file']}", marks=[pytest.mark.slow] if slow else [])


def test_all_weights_are_exported_both_ways():
    for tool in EXPORTS:
        named = [options_of(words)["ckpt_file"] for _, command, words in COMMANDS if command == tool]
        assert sorted(named) == sorted(f"bundles/{w.replace('/', '/models/')}" for w in WEIGHTS)


@pytest.mark.parametrize("tool, options", [case(*command) for command in COMMANDS])
def test_export(tool, options, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # MONAI leaves a copy of the weights there
    path = str(tmp_path / Path(options["filepath"]).name)
    if tool == "onnx_export":
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    EXPORTS[tool](**{**options, "filepath": path})
    network = network_of(options)
    torch.manual_seed(0)
    if tool == "onnx_export":
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        image = torch.rand(session.get_inputs()[0].shape)
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
        assert np.abs(found - expected(network, image).numpy()).max() < 1e-4
        return
    exported = torch.jit.load(path)
    image = torch.rand(options.get("input_shape") or (1, 2, 48, 64, 48))
    torch.testing.assert_close(exported(image), expected(network, image), rtol=0, atol=1e-5)
    other = torch.rand(2, *image.shape[1:-1], image.shape[-1] - 16)
    if options.get("use_trace"):
        for refused in (other, other[:1], image.mT, image.repeat(1, 1, 2, 2), image.repeat(2, 1, 1, 1)):
            with pytest.raises(RuntimeError, match="expanded size"):
                exported(refused)
    else:
        torch.testing.assert_close(exported(other), expected(network, other), rtol=0, atol=1e-5)


def network_of(options):
    parser = ConfigParser()
    parser.read_config(options["config_file"])
    parser["device"] = "cpu"
    name = options["net_id"]
    return parser.get_parsed_content("network" if name == "network_def" else name).eval()


def expected(network, image):
    with torch.no_grad():
        found = network(image)
    assert found.std() > 1e-4, "a network that gives nothing proves nothing"
    return found


@pytest.mark.parametrize("size", [(1, 1, 30, 32), (1, 2, 32, 32), (1, 32, 32)])
def test_scripted_networks_refuse_other_shapes(size):
    from cardiac_motion.strain_pipeline.tracking.image_networks import load_segmentation, load_view_classifier

    models = ROOT / "bundles/strain_pipeline/models"
    for network in (load_segmentation(models / "segmentation.pt"), load_view_classifier(models / "view.pt")):
        with pytest.raises(torch.jit.Error, match=r"expected \[B, 1, H, W\]"):
            torch.jit.script(network)(torch.zeros(size))
