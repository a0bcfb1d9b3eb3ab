import pytest
import torch
from torch import nn

from edgekd.train import Batch, Objective
from edgekd.train.objective import Phased


class Constant(Objective):
    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def terms(self, network, batch):
        return {"constant": network(batch.inputs).sum() * 0 + self.value}


@pytest.mark.parametrize(
    ("until", "first"),
    [(0.0, 0), (0.25, 2), (0.5, 4), (0.51, 5), (1.0, 8)],
)
def test_the_first_share_of_the_steps(until, first):
    objective, network = Phased(Constant(1.0), Constant(2.0), until), nn.Linear(3, 2)
    inputs, labels = torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)
    losses = [float(objective(network, Batch(inputs, labels, progress=step / 8))) for step in range(8)]
    assert losses == [1.0] * first + [2.0] * (8 - first)


def test_each_part_tells_its_own_figures():
    class Telling(Constant):
        def metrics(self, progress):
            return {"value": self.value, "progress": progress}

    objective = Phased(Constant(1.0), Telling(2.0), 0.5)
    assert objective.metrics(0.4) == {}
    assert objective.metrics(0.5) == {"value": 2.0, "progress": 0.5}


def test_what_is_learned_along_is_that_of_both():
    class Learning(Constant):
        def __init__(self):
            super().__init__(1.0)
            self.adapter = nn.Linear(2, 2)

        def learned(self):
            return self.adapter

    assert Phased(Constant(1.0), Constant(2.0), 0.5).learned() is None
    learned = Phased(Constant(1.0), Learning(), 0.5).learned()
    assert learned is not None and len(list(learned.parameters())) == 2
