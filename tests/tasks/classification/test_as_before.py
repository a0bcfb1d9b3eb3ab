"""The task computes what the rooms that still do it themselves compute."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from edgekd.bundle.golden import Golden
from edgekd.export import parity
from edgekd.tasks.classification import Classification
from edgekd.tasks.compare import compare
from edgekd.tasks.metric import Correct

N, CLASSES = 1000, 10
TASK = Classification(tuple(map(str, range(CLASSES))))


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, CLASSES, (N,), generator=generator)
    logits = torch.randn(2, N, CLASSES, generator=generator)
    logits[:, torch.arange(N), labels] += 2
    return *logits, labels


def test_a_bundles_probabilities_and_self_test_to_the_bit(drawn):
    logits = drawn[0].numpy()
    np.testing.assert_allclose(TASK.decode({"logits": logits}).probabilities, softmax(logits.astype(float), 1), 1e-12)
    moved = logits + np.random.default_rng(0).normal(0, 0.3, logits.shape).astype(np.float32)
    judged = Golden({}, {"logits": logits}, {"logits": (0.1, 12.0)}, "logits", TASK).judge({"logits": moved})
    clear = TASK.settled({"logits": logits}, {"logits": 1.2})
    same = TASK.agree(*(TASK.decode({"logits": each}) for each in (moved, logits)))
    assert (int(clear.sum()), int(same[clear].sum())) == (judged.judged, judged.alike)
    assert parity(torch.tensor(logits), torch.tensor(moved)).agreement == same.mean()


def test_a_gates_comparison(drawn):
    from edgekd.stats.paired import drop

    before, after, labels = drawn
    right = [(each.argmax(1) == labels).tolist() for each in (before, after)]
    found, expected = compare(TASK.metrics[0], *map(Correct, right)), drop(*right)
    assert (found.drop, found.lower, found.upper, found.p, found.lost, found.won) == (
        *(expected.value, expected.at_least, expected.at_most, expected.p, expected.lost, expected.won),
    )
