from dataclasses import asdict

import pytest
import torch

from edgekd.export import Parity, parity


def test_by_hand():
    ours = torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0], [2.0, 1.0]])
    theirs = torch.tensor([[1.0, 2.5], [0.5, 1.0], [0.0, 5.0], [2.0, 1.0]])
    # Our logits range over 5, so a step is 5/255; the differences are 0.5 and 2.5 among 8 logits.
    expected = Parity(0.75, 2.5, 4, max_steps=2.5 * 255 / 5, mean_steps=3.0 / 8 * 255 / 5)
    assert asdict(parity(ours, theirs)) == pytest.approx(asdict(expected))
    assert parity(ours, ours) == Parity(1.0, 0.0, 4, 0.0, 0.0)


def test_of_nothing():
    with pytest.raises((RuntimeError, IndexError)):
        parity(torch.zeros(0, 2), torch.zeros(0, 2))


def test_numbers_that_are_not_finite_are_counted_and_not_measured():
    ours = torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0], [2.0, 1.0]])
    theirs = torch.tensor([[1.0, 2.5], [torch.inf, 1.0], [0.0, 5.0], [torch.nan, torch.nan]])
    # Of the five logits that are finite, one is 0.5 apart.
    expected = Parity(0.5, 0.5, 4, max_steps=0.5 * 255 / 5, mean_steps=0.1 * 255 / 5, not_finite=2)
    assert asdict(parity(ours, theirs)) == pytest.approx(asdict(expected))
    assert parity(ours, torch.full((4, 2), torch.nan)) == Parity(0.0, 0.0, 4, 0.0, 0.0, 4)
