"""Points: a figure somewhere in the image, and errors of a heavy-tailed distribution."""

from functools import partial

import numpy as np
from drawn import Random, Simulation, TestSet, worse_by
from numpy.typing import NDArray

from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.regression.points import PointPredictions, size_of

COUNT, SIDE, DEAD = 8, 96.0, 3
# Shares of the size: errors, what another kernel moves, and the planted shift.
ERROR, ROUNDING, SHIFT = 0.04, 0.001, 0.05
MORE, POINTS = 0.05, 0.02
SIZE = 60.0
TASK = Keypoints(tuple(f"point {number}" for number in range(COUNT)), size=SIZE)
PCK = TASK.metrics[1]
Points = NDArray[np.float64]
predicted = partial(PointPredictions, size=SIZE)


def draw(random: Random, samples: int) -> TestSet:
    figure = random.uniform(-0.5, 0.5, (COUNT, 2))
    figure *= SIZE / size_of(figure[None].astype(np.float32))
    middles = SIDE / 2 + 0.1 * SIDE * random.normal(size=(samples, 1, 2))
    values = middles + figure + 0.1 * SIZE * random.normal(size=(samples, COUNT, 2))
    known = np.broadcast_to(random.random((samples, COUNT, 1)) < 0.9, values.shape)
    errors = ERROR * SIZE * random.standard_t(3, values.shape)
    return TestSet({"values": values, "known": known}, values + errors)


def rounded(network: Points, random: Random) -> Points:
    return network + ROUNDING * SIZE * random.normal(size=network.shape)


def scaled(drawn: TestSet, random: Random) -> Points:
    values = drawn.targets["values"]
    found: Points = values + (1 + MORE) * (drawn.network - values)
    return found


def noisy(drawn: TestSet, random: Random) -> Points:
    noise = random.normal(size=drawn.network.shape)

    def change(strength: float) -> PointPredictions:
        return predicted(drawn.network + strength * noise)

    found: Points = change(worse_by(PCK, POINTS, predicted(drawn.network), change, drawn.targets, SIZE)).values
    return found


def shifted(drawn: TestSet, random: Random) -> Points:
    found: Points = drawn.network + SHIFT * SIZE
    return found


def dead(drawn: TestSet, random: Random) -> Points:
    found: Points = drawn.network.copy()
    found[:, DEAD] = found[:, DEAD].mean(0)
    return found


SIMULATION = Simulation(
    task=TASK,
    sizes=(1000,),
    draw=draw,
    rounded=rounded,
    faults={
        "2 points of PCK by noise": noisy,
        "5 % more error by scaling": scaled,
        "points shifted by 5 % of the size": shifted,
        "one point dead": dead,
    },
    predictions=predicted,
)
