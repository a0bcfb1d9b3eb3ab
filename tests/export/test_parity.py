import pytest
import torch

from edgekd.export import Parity, parity


def test_by_hand():
    ours = torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0], [2.0, 1.0]])
    theirs = torch.tensor([[1.0, 2.5], [0.5, 1.0], [0.0, 5.0], [2.0, 1.0]])
    assert parity(ours, theirs) == Parity(agreement=0.75, max_abs_difference=2.5, n=4)
    assert parity(ours, ours) == Parity(1.0, 0.0, 4)


def test_of_nothing():
    with pytest.raises((RuntimeError, IndexError)):
        parity(torch.zeros(0, 2), torch.zeros(0, 2))
