import pytest
import torch

from cardiac_motion.training.frame_losses import StructureDice, accuracy


def test_dice_of_a_structure_and_accuracy():
    label = torch.zeros(2, 1, 4, 4, dtype=torch.long)
    label[0, 0, :2, :2] = 2
    logits = torch.zeros(2, 3, 4, 4)
    logits[0, 2, :2, :3] = 1
    dice = StructureDice(2)(logits, label)
    assert dice[0] == pytest.approx(2 * 4 / (6 + 4)) and torch.isnan(dice[1])
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 0])).tolist() == [1, 1, 0]
