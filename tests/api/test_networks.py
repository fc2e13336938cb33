"""Networks by a bundle's name, its folder, or a repository of Hugging Face."""

import shutil
import sys
import types

import pytest
import torch

from cardiac_motion.api.networks import load
from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.ncc_flow import NCCFlow
from cardiac_motion.networks.weights import load_weights
from tests.bundles.running import ROOT


def same(network, other):
    own, theirs = network.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(own[key].cpu().equal(theirs[key]) for key in own)


def test_the_name_of_a_bundle_gives_its_network_with_its_weights():
    network = load("cpwc_echo")
    assert isinstance(network, NCCFlow) and not network.training
    assert same(network, load_weights(NCCFlow(), ROOT / "bundles/cpwc_echo/models/model.pt"))


def test_its_folder_does_too_and_files_and_options_change_it(tmp_path):
    from cardiac_motion.networks.pwc_net import PWCNet

    assert isinstance(load(ROOT / "bundles/cpwc_echo", config="pwc_net.json"), PWCNet)
    state = {key: torch.zeros_like(value) for key, value in NCCFlow().state_dict().items()}
    torch.save(state, tmp_path / "mine.pt")
    network = load("cpwc_echo", checkpoint=str(tmp_path / "mine.pt"))
    assert all(not value.any() for value in network.state_dict().values())


def test_another_part_of_a_bundle():
    segment = load("strain_pipeline", "segment")
    found = segment(torch.rand(2, 64, 64))
    memberships = torch.cat(list(found.parts))
    assert memberships.shape == (2, 4, *found.grid.size) and torch.allclose(memberships.sum(1), torch.ones(()))


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (("cpwc_ech",), {}, "did you mean cpwc_echo"),
        (("cpwc_echo", "infererr"), {}, "no part 'infererr'; did you mean inferer"),
        (("cpwc_echo",), {"chekpoint": "a"}, "did you mean --checkpoint"),
        (("cpwc_echo",), {"config": "pwc_nt.json"}, "pwc_net.json"),
        (("cpwc_echo",), {"checkpoint": "nowhere.pt"}, "no such weights"),
    ],
)
def test_what_is_not_there_is_named(words, settings, message):
    with pytest.raises(InputError, match=message):
        load(*words, **settings)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """``huggingface_hub`` with one repository, a copy of a bundle."""
    asked = []

    def snapshot_download(repository, revision=None, local_dir=None):
        asked.append(repository)
        if repository != "somebody/motion":
            raise OSError("404 Client Error\nRepository Not Found")
        place = tmp_path / "cache/motion"
        shutil.copytree(ROOT / "bundles/dis", place, dirs_exist_ok=True)
        return str(place)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    return asked


def test_a_repository_of_hugging_face(hub):
    from cardiac_motion.comparators.dis import DenseInverseSearch

    assert isinstance(load("somebody/motion"), DenseInverseSearch) and hub == ["somebody/motion"]
    with pytest.raises(InputError, match=r"nobody/motion: cannot be downloaded \(404 Client Error Repository Not"):
        load("nobody/motion")


def test_without_the_hub_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"huggingface_hub, which is not installed.*\[hub\]"):
        load("somebody/motion")


def test_a_path_that_is_mistyped_is_not_looked_for_elsewhere(hub, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match="no bundle of this name"):
        load("bundles/cpwc")
    assert hub == []
