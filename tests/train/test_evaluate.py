import math

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data import DataSet, InMemory
from edgekd.preprocess import Preprocess
from edgekd.train import logits_of, metric_of, predictions_of
from edgekd.train.evaluate import validation_metrics


def vectors(count: int = 11) -> DataSet:
    random = np.random.default_rng(0)
    raw = torch.from_numpy(random.normal(size=(count, 3)).astype(np.float32))
    samples = InMemory(raw, torch.arange(count) % 2)
    scale = Preprocess("vector", (3,), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    return DataSet("vectors", ("a", "b"), scale, samples, samples, samples, batch_size=4)


def test_logits_and_accuracy_by_hand():
    data, network = vectors(), nn.Linear(3, 2)
    raw, weight, bias = data.test.raw.numpy(), network.weight.detach().numpy(), network.bias.detach().numpy()
    expected = ((raw - [0.1, 0.2, 0.3]) / [1, 2, 3]) @ weight.T + bias
    np.testing.assert_allclose(logits_of(network, data, data.test).numpy(), expected, atol=1e-6)
    share = (expected.argmax(1) == data.test.labels.numpy()).mean()
    assert metric_of(network, data, data.test) == share


def test_the_batch_size_does_not_matter():
    data, network = vectors(), nn.Linear(3, 2)
    whole, single = (logits_of(network, data, data.test, size) for size in (11, 1))
    torch.testing.assert_close(whole, single)
    assert whole.shape == (11, 2) and not whole.requires_grad


def test_predictions_are_the_largest_logits_where_these_are_finite():
    data, network = vectors(), nn.Linear(3, 2)
    expected = logits_of(network, data, data.test).argmax(1).int()
    assert torch.equal(predictions_of(network, data, data.test), expected)
    data.test.raw[4] = math.nan
    expected[4] = -1
    assert torch.equal(predictions_of(network, data, data.test), expected)
    assert math.isnan(metric_of(network, data, data.test))


def test_validation_metrics_by_hand():
    data = vectors(4)  # labels 0, 1, 0, 1
    predictions, teacher = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0])
    assert validation_metrics(predictions, data) == {"validation_accuracy": 0.5}
    expected = {"validation_accuracy": 0.5, "teacher_validation_accuracy": 0.75, "agreement": 0.75}
    assert validation_metrics(predictions, data, teacher) == pytest.approx(expected)
