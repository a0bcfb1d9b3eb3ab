import pytest
import torch
from torch import nn

from edgekd.train import Objective
from edgekd.train.phased import Phased


class Constant(Objective):
    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, network, inputs, labels):
        return network(inputs).sum() * 0 + self.value


@pytest.mark.parametrize(
    ("until", "first"),
    [(0.0, 0), (0.25, 2), (0.5, 4), (0.51, 5), (1.0, 8)],
)
def test_the_first_share_of_the_steps(until, first):
    objective, network = Phased(Constant(1.0), Constant(2.0), until), nn.Linear(3, 2)
    inputs, labels = torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)
    losses = []
    for step in range(8):
        objective.at(step, 8)
        losses.append(float(objective(network, inputs, labels)))
    assert losses == [1.0] * first + [2.0] * (8 - first)


def test_of_no_steps():
    objective = Phased(Constant(1.0), Constant(2.0), 0.5)
    objective.at(0, 0)
    assert objective.progress == 0.0
