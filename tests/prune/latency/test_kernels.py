from dataclasses import replace

import numpy as np
import pytest

from edgekd.errors import MeasurementError
from edgekd.prune.latency import Layer
from edgekd.prune.latency.kernels import MOST_LAYERS, MOST_MACS, MOST_WEIGHTS, Setting, batches_of, kernel_times

CONV = Layer("conv", 16, 16, ((14, 14),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
LINEAR = Layer("linear", 64, 64, ((),))


def test_batches_hold_every_layer_once_and_little_of_all():
    small = [CONV.resized(inputs, 16) for inputs in range(1, 40)]
    large = [replace(CONV, sizes=((448, 448),)).resized(64, outputs) for outputs in range(64, 70)]
    heavy = [LINEAR.resized(3000, outputs) for outputs in range(3000, 3008)]
    batches = list(batches_of([*heavy, *small, *large]))
    assert sorted(str(layer) for batch in batches for layer in batch) == sorted(map(str, [*small, *large, *heavy]))
    for batch in batches:
        assert len(batch) <= MOST_LAYERS
        assert len(batch) == 1 or sum(layer.macs for layer in batch) <= MOST_MACS
        assert len(batch) == 1 or sum(np.prod(layer.weight_shape) for layer in batch) <= MOST_WEIGHTS
    order = [layer.macs for batch in batches for layer in batch]
    assert order == sorted(order)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_all_kinds_have_a_kernel(precision):
    layers = [
        CONV,
        replace(CONV, groups=16),
        replace(CONV, groups=4, activation=True),
        CONV.resized(13, 7),
        Layer("conv", 8, 12, ((40,),), (5,), (2,), (2, 2), (1,)),
        Layer("conv_transpose", 8, 8, ((7, 7),), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), (0, 0)),
        LINEAR,
        replace(LINEAR, activation=True),
        replace(LINEAR, sizes=((9,),), activation=True),
        replace(LINEAR, sizes=((4, 9),)),
    ]
    times = kernel_times(layers, Setting(precision, 1, np.uint8))
    assert set(times.multiples) == set(map(str, layers))
    assert all(0 < multiple < 20 for multiple in times.multiples.values())
    assert 0 < times.reference_ms < 20


def test_a_layer_that_cannot_be():
    with pytest.raises(MeasurementError, match="loads but does not run"):
        kernel_times([replace(CONV, kernel=(30, 30))], Setting("float32", 1, np.uint8))
