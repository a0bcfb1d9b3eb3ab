"""Values: errors of a heavy-tailed distribution, of targets whose deviation is 1."""

import numpy as np
from drawn import Random, Simulation, TestSet, worse_by
from numpy.typing import NDArray

from edgekd.tasks.regression import Regression
from edgekd.tasks.regression.score import ValuePredictions

ERROR, ROUNDING, MORE = 0.3, 0.02, 0.05
TASK = Regression(("value",))
MAE = TASK.metrics[0]
Values = NDArray[np.float64]


def draw(random: Random, samples: int) -> TestSet:
    values = random.normal(size=(samples, 1))
    targets = {"values": values, "known": np.ones(values.shape, bool)}
    return TestSet(targets, values + ERROR * random.standard_t(4, values.shape))


def rounded(network: Values, random: Random) -> Values:
    return network + ROUNDING * random.normal(size=network.shape)


def scaled(drawn: TestSet, random: Random) -> Values:
    values = drawn.targets["values"]
    found: Values = values + (1 + MORE) * (drawn.network - values)
    return found


def noisy(drawn: TestSet, random: Random) -> Values:
    noise = random.normal(size=drawn.network.shape)
    before = ValuePredictions(drawn.network)

    def change(strength: float) -> ValuePredictions:
        return ValuePredictions(drawn.network + strength * noise)

    lost = MORE * MAE.evidence(before, drawn.targets).value()
    found: Values = change(worse_by(MAE, lost, before, change, drawn.targets, 2.0)).values
    return found


SIMULATION = Simulation(
    task=TASK,
    sizes=(1000, 2000),
    draw=draw,
    rounded=rounded,
    faults={"5 % more error by scaling": scaled, "5 % more error by noise": noisy},
    predictions=ValuePredictions,
)
