"""Arguments outside the range that is documented for them are refused where they come in, with the range."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from edgekd.bench import Plan, Workload
from edgekd.distill import DKD, KD, Distillation, Schedule, Term, dist_loss, dkd_loss, kd_loss
from edgekd.errors import EdgekdError
from edgekd.models import build
from edgekd.prune import GroupNorm, Prunable, cut_depth, prune, scan
from edgekd.quantize.rounding import RoundingSearch
from edgekd.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SEED, SHARE, SHARE_OR_ALL, SHARE_OR_NONE, Range
from edgekd.train import CrossEntropy

SHAPE = (1, 8, 8)
NO_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "0.5", [0.5], 1j]


@pytest.mark.parametrize(
    ("range_", "inside", "outside", "words"),
    [
        (SHARE, [0.5, 1e-9, np.float32(0.5)], [0, 1, 1.5, -0.1], "a finite number above 0 and below 1"),
        (SHARE_OR_ALL, [1, 0.5], [0, 1.1], "a finite number above 0 and at most 1"),
        (SHARE_OR_NONE, [0, 0.5], [1, -0.1], "a finite number of at least 0 and below 1"),
        (POSITIVE, [1e-9, 7, np.int64(7)], [0, -1], "a finite number above 0"),
        (NOT_NEGATIVE, [0, 7.5], [-1e-9], "a finite number of at least 0"),
        (COUNT, [1, np.int32(5), 10**400], [0, 1.0, 2.5, -1], "a whole number of at least 1"),
        (SEED, [0, 2**63 - 1], [-1, 2**64], "a whole number of at least 0 and at most 9223372036854775807"),
        (Range(), [-5, 0.1], [], "a finite number"),
    ],
)
def test_ranges(range_, inside, outside, words):
    range_.check(EdgekdError, x=None)
    for value in inside:
        range_.check(EdgekdError, x=value)
    for value in [*outside, *NO_NUMBERS]:
        with pytest.raises(EdgekdError) as error:
            range_.check(EdgekdError, x=value)
        assert str(error.value) == f"x must be {words}, got {value!r}"


def network():
    return build("small_cnn", SHAPE, 3, width=8)


def logits():
    return torch.randn(2, 3), torch.randn(2, 3)


WORKLOADS = {"a": Workload("a.onnx")}
ENTRIES: dict[str, tuple[Callable[[object], object], list[object]]] = {
    "macs": (lambda value: prune(network(), SHAPE, macs=value), [1.5, 0, 1, -0.5]),
    "params": (lambda value: prune(network(), SHAPE, params=value), [1.5, 0]),
    "size": (lambda value: prune(network(), SHAPE, size=value), [50, 0]),
    "max_ratio": (lambda value: prune(network(), SHAPE, macs=0.5, max_ratio=value), [0, 1.5]),
    "round_to": (lambda value: Prunable(network(), SHAPE, round_to=value), [0, -8, 2.5]),
    "seed": (lambda value: Prunable(network(), SHAPE, seed=value), [-1, 0.5]),
    "target": (
        lambda value: cut_depth(network(), SHAPE, cost=lambda n: 1.0, target=value, degradation=lambda n: 0.0),
        [0, 1, 2],
    ),
    "ratios": (lambda value: scan(network(), SHAPE, lambda n: 0.0, ratios=[value]), [0, 1, -1]),
    "cuts": (lambda value: scan(network(), SHAPE, lambda n: 0.0, cuts=value), [0, -1, 1.5]),
    "strength": (lambda value: GroupNorm(network(), SHAPE, strength=value), [0, -1]),
    "alpha": (lambda value: GroupNorm(network(), SHAPE, alpha=value), [-1]),
    "temperature": (lambda value: kd_loss(*logits(), temperature=value), [0, -1]),
    "temperature of a module": (lambda value: KD(temperature=value), [0, -4]),
    "temperature of dist": (lambda value: dist_loss(*logits(), temperature=value), [0]),
    "beta": (lambda value: dkd_loss(*logits(), torch.tensor([0, 1]), beta=value), [-1]),
    "alpha of dkd": (lambda value: DKD(alpha=value), [-1]),
    "until": (lambda value: Schedule("linear", 1, 0, value), [0, 2]),
    "start": (lambda value: Schedule("linear", value, 0), []),
    "hard_weight": (lambda value: Distillation(network(), KD(), hard_weight=value), [-0.1, 1.1]),
    "label_smoothing": (lambda value: Distillation(network(), KD(), label_smoothing=value), [1, -0.1]),
    "label_smoothing of labels": (CrossEntropy, [1, 2, -0.1]),
    "weight": (lambda value: Term("kd", KD(), value), [-1]),
    "seconds": (lambda value: Plan(WORKLOADS, seconds=value), [-1, 0]),
    "max_seconds": (lambda value: Plan(WORKLOADS, max_seconds=value), [-1, 0]),
    "width": (lambda value: Plan(WORKLOADS, width=value), [0, -0.02]),
    "warmup_s": (lambda value: Plan(WORKLOADS, warmup_s=value), [-1]),
    "threads": (lambda value: Plan(WORKLOADS, threads=value), [0, 1.5]),
    "batch": (lambda value: Plan(WORKLOADS, batch=value), [0, -1]),
    "launches": (lambda value: Plan(WORKLOADS, launches=value), [0, 2.5]),
    "shape": (lambda value: Workload("a.onnx", shape=(1, value)), [0, -1, 2.5]),
    "iterations": (lambda value: RoundingSearch(iterations=value), [0, 1.5]),
    "learning_rate": (lambda value: RoundingSearch(learning_rate=value), [0, -1]),
    "warm_up": (lambda value: RoundingSearch(warm_up=value), [1, -0.1]),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_public_functions(entry):
    call, outside = ENTRIES[entry]
    name = entry.partition(" of ")[0]
    for value in [*outside, math.nan, math.inf, True, "0.5"]:
        with pytest.raises(EdgekdError, match=rf"{name} must be a .*number.*, got|{name}.*must be") as error:
            partial(call, value)()
        assert repr(value) in str(error.value)
