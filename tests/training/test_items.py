"""Items of a seed, an epoch and an index: the same again, others otherwise."""

import torch

from cardiac_motion.training.items import RandomItems


class Numbers(RandomItems):
    def __getitem__(self, index):
        return torch.rand(1, generator=self._generator(index)).item()


def drawn(seed=0, epochs=3, length=50):
    items = Numbers(length, seed)
    found = []
    for epoch in range(epochs):
        items.set_epoch(epoch)
        found += [items[i] for i in range(len(items))]
    return found


def test_all_items_of_all_epochs_and_seeds_differ():
    assert len(set(drawn(0) + drawn(1) + drawn(2))) == 3 * 3 * 50


def test_a_resumed_epoch_draws_what_it_would_have_drawn():
    items = Numbers(50, 7)
    items.set_epoch(2)
    assert [items[i] for i in (0, 10, 49)] == [drawn(7)[100 + i] for i in (0, 10, 49)]
