import re

import numpy as np
import pytest
import torch

from edgekd.errors import DataError, ModelError
from edgekd.tasks.compare import compare
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.registry import TASKS
from edgekd.tasks.signature import LOGITS, Signature, TensorSpec
from tests.tasks.multilabel.drawn import drawn, partly

NAMES = tuple("abcdef")
TASK = Multilabel(NAMES)
SIGNATURE = Signature((TensorSpec("input", (3, 8, 8)),), (TensorSpec(LOGITS, (6,)),))


def test_a_bundles_options_decode_alike():
    task = Multilabel(NAMES, thresholds=(0.5, 0.1, 0.9, 0.4, 0.5, 0.6), positive_weights=(1, 2, 3, 4, 5, 6))
    again = TASKS.find(task.name)(NAMES, **task.decoder())
    assert isinstance(again, Multilabel) and again.positive_weights is None
    outputs = {LOGITS: drawn()[0]}
    assert task.agree(task.decode(outputs), again.decode(outputs)).all()
    assert not task.agree(task.decode(outputs), TASK.decode(outputs)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": (0.5,)}, "thresholds are [0.5]; expected 6 numbers above 0 and below 1"),
        ({"thresholds": (0, 0.5, 0.5, 0.5, 0.5, 0.5)}, "thresholds are [0, 0.5, 0.5, 0.5, 0.5, 0.5]; expected 6"),
        (
            {"positive_weights": (1, 1, 1, 1, 1, -1)},
            "positive_weights are [1, 1, 1, 1, 1, -1]; expected 6 numbers above",
        ),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        Multilabel(NAMES, **options)


def test_what_is_not_its_own_is_refused():
    targets = {"labels": drawn()[1]}
    TASK.check(SIGNATURE, targets)
    with pytest.raises(ModelError, match="a logit for each label"):
        Multilabel(NAMES[:5]).check(SIGNATURE, targets)
    with pytest.raises(DataError, match="expected a 0 or 1"):
        TASK.check(SIGNATURE, {"labels": targets["labels"][:, :3]})
    with pytest.raises(ModelError, match="^net gives probabilities"):
        TASK.check_outputs({LOGITS: torch.tensor(drawn()[0]).sigmoid()}, "net")


def test_labels_that_are_left_out_are_named():
    targets = drawn()[1]
    assert TASK.warnings({"labels": targets}) == []
    targets[:, [1, 4]] = 0
    [said] = TASK.warnings({"labels": targets})
    assert said == "no sample is known to have 'b', 'e': mAP and macro F1 leave these labels out"


def test_losses_by_name():
    logits, targets = drawn()
    outputs, teacher = {LOGITS: torch.tensor(logits)}, {LOGITS: torch.tensor(logits + 0.1)}
    known = {name: torch.tensor(value) for name, value in partly(targets).items()}
    losses = TASK.loss(outputs, known) | TASK.soft_loss(outputs, teacher, known)
    assert set(losses) == {"labels", "teacher"} and all(value.ndim == 0 for value in losses.values())
    weighted = Multilabel(NAMES, positive_weights=(2,) * 6).loss(outputs, known)["labels"]
    assert weighted > losses["labels"]
    assert TASK.divergence(outputs, teacher).shape == (300,)


def test_a_planted_loss_is_found_and_an_unchanged_network_is_not():
    logits, targets = drawn(n=600)
    random = np.random.default_rng(0)
    rounded, damaged = (logits + random.normal(0, sd, logits.shape) for sd in (0.02, 1.5))
    for metric in TASK.metrics:
        before, same, worse = (
            metric.evidence(TASK.decode({LOGITS: each}), {"labels": targets}) for each in (logits, rounded, damaged)
        )
        assert not compare(metric, before, same, 0.99).is_worse
        assert compare(metric, before, worse, 0.99).is_worse
