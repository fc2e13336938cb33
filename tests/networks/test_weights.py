"""Weights on disk: half precision, and one line for what can't be used."""

import os

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.networks.weights import load_weights, read_weights, require_weights, save_weights


def test_weights_come_back_in_half_precision(tmp_path):
    network, other = RegistrationUNet(2), RegistrationUNet(2)
    save_weights(network, tmp_path / "model.pt")
    load_weights(other, tmp_path / "model.pt")
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
        assert b.dtype == torch.float32


@pytest.mark.parametrize("content", ["missing", "text", "other"])
def test_weights_that_do_not_fit(tmp_path, content):
    path = tmp_path / "model.pt"
    if content == "text":
        path.write_text("no weights", encoding="utf-8")
    elif content == "other":
        save_weights(RegistrationUNet(2, encoder=(8, 8), decoder=(8, 8)), path)
    with pytest.raises(InputError, match=r"model\.pt"):
        load_weights(RegistrationUNet(2), path)


def test_what_is_written_is_half_as_large_and_whole_numbers_stay(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    save_weights(network, tmp_path / "model.pt")
    state = read_weights(tmp_path / "model.pt")
    assert state["0.weight"].dtype == torch.float16 and state["1.num_batches_tracked"].dtype == torch.int64
    wrapped = torch.nn.Module()
    wrapped.module = network
    save_weights(wrapped, tmp_path / "parallel.pt")
    assert set(read_weights(tmp_path / "parallel.pt")) == set(state)


def test_a_network_that_nobody_trained():
    network = RegistrationUNet(2)
    assert load_weights(network, None) is network
    require_weights("model.pt")
    with pytest.raises(InputError) as caught:
        require_weights(None, "train_view.json", "--view_weights")
    assert str(caught.value) == (
        "no weights: train them with the bundle's train_view.json and name them with --view_weights FILE"
    )


def test_a_full_disk_leaves_the_weights_that_are_there(tmp_path, small_disk):
    network, path = torch.nn.Linear(300, 300), tmp_path / "model.pt"
    save_weights(network, path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught, small_disk():
        save_weights(network, path)
    assert str(caught.value) == f"{path}: cannot be written (file too large)"
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the system lets this user write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"model\.pt: cannot be written \(permission denied\)"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "model.pt")
