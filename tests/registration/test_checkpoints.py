"""What is kept of a registration; in the whole registration: ``test_testtime_steps.py``."""

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.checkpoints import Checkpoints, hash_state


def test_a_state_is_found_again_by_its_identity(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save(".es", "one", {"velocity": torch.arange(3.0), "done": [{"scale": 0.5}]})
    other = Checkpoints(str(tmp_path))
    found = other.load(".es", "one")
    assert found["velocity"].tolist() == [0, 1, 2] and found["done"] == [{"scale": 0.5}]
    assert other.load(".es", "two") is None and other.load("", "one") is None
    Checkpoints(tmp_path).forget()
    assert list(tmp_path.iterdir()), "of another case"
    other.forget()
    assert not list(tmp_path.iterdir())


def test_what_is_damaged_is_not_there_and_no_folder_keeps_nothing(tmp_path):
    (tmp_path / ".scales.pt").write_bytes(b"damaged")
    assert Checkpoints(tmp_path).load("", "one") is None
    none = Checkpoints(None)
    none.save("", "one", {})
    assert none.load("", "one") is None and none.folder is None


def test_the_identity_is_of_settings_and_every_tensor():
    first = hash_state([1], [torch.zeros(2), torch.ones(1)])
    assert first == hash_state([1], [torch.zeros(2), None, torch.ones(1)])
    others = (([2], [torch.zeros(2), torch.ones(1)]), ([1], [torch.zeros(2), torch.zeros(1)]), ([1], [torch.zeros(2)]))
    assert all(hash_state(*other) != first for other in others)


def test_a_full_disk_leaves_the_checkpoint_that_is_there(tmp_path, small_disk):
    kept = Checkpoints(tmp_path)
    kept.save("", "a", {"velocity": torch.ones(2)})
    with pytest.raises(InputError, match=r"scales\.pt: cannot be written \("), small_disk():
        kept.save("", "a", {"velocity": torch.zeros(10**6)})
    assert kept.load("", "a")["velocity"].tolist() == [1, 1] and len(list(tmp_path.iterdir())) == 1
