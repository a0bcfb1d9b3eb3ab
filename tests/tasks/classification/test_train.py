"""Against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from edgekd.errors import ModelError, TrainingError
from edgekd.tasks.classification import train


def drawn(seed=0, n=40, classes=5):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, n, classes, generator=generator)
    return *logits, torch.randint(0, classes, (n,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_what_is_known(smoothing):
    logits, _, classes = drawn()
    known = torch.arange(40) % 4 > 0
    wanted = (1 - smoothing) * np.eye(5)[classes] + smoothing / 5
    each = -(wanted * log_softmax(logits.numpy().astype(float), 1)).sum(1)
    assert float(train.cross_entropy(logits, classes, None, smoothing)) == pytest.approx(each.mean(), rel=1e-6)
    classes[~known] = 99  # is not looked at
    found = train.cross_entropy(logits, classes, known, smoothing)
    assert float(found) == pytest.approx(each[known].mean(), rel=1e-6)


def test_nothing_is_known():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = train.cross_entropy(logits, torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert float(loss) == 0 and float(logits.grad.abs().max()) == 0


def test_divergence_of_each_sample():
    ours, exact, _ = drawn()
    p, q = (softmax(each.numpy().astype(float), 1) for each in (exact, ours))
    found = train.divergence(ours, exact)
    np.testing.assert_allclose(found.numpy(), (p * np.log(p / q)).sum(1), rtol=1e-4)
    assert float(train.divergence(exact, exact).abs().max()) < 1e-6
    assert float(train.kd_loss(ours, exact, 1.0)) == pytest.approx(float(found.mean()), rel=1e-6)


def test_the_temperature_and_the_smoothing_have_their_range():
    ours, exact, classes = drawn()
    with pytest.raises(TrainingError, match="temperature must be a finite number above 0, got 0"):
        train.kd_loss(ours, exact, 0)
    with pytest.raises(TrainingError, match="label_smoothing must be"):
        train.cross_entropy(ours, classes, None, 1.0)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda logits: logits.softmax(1), "not negative and 1 in sum, as after a softmax"),
        (lambda logits: logits.log_softmax(1), "as their logarithms, 1 in sum, as after a log-softmax"),
        (lambda logits: logits.sigmoid(), "between 0 and 1 for every input, as after a sigmoid"),
    ],
)
def test_probabilities_are_refused(form, said):
    logits, _, _ = drawn()
    train.must_be_logits(logits, "net.py:make")
    with pytest.raises(ModelError, match=f"^net.py:make gives probabilities, {said}; .*return the logits"):
        train.must_be_logits(form(logits), "net.py:make")


def test_values_that_are_not_finite_tell_nothing():
    train.must_be_logits(torch.full((2, 3), torch.nan), "net")
