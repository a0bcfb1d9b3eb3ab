"""Against SciPy and PyTorch's losses of two classes."""

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr

from edgekd.errors import ModelError, TrainingError
from edgekd.tasks.classification.train import kd_loss
from edgekd.tasks.multilabel import train


def drawn(seed=0, n=30, labels=5):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, n, labels, generator=generator)
    return *logits, torch.randint(0, 2, (n, labels), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 4.0, 1.0]])
def test_binary_cross_entropy_of_what_is_known(smoothing, weights):
    logits, _, labels = drawn()
    known = torch.arange(150).reshape(30, 5) % 4 > 0
    chances = expit(logits.numpy().astype(float))
    wanted = labels.numpy() * (1 - smoothing) + smoothing / 2
    each = -(np.array(weights or 1) * wanted * np.log(chances) + (1 - wanted) * np.log(1 - chances))
    found = train.binary_cross_entropy(logits, labels, None, weights, smoothing)
    assert float(found) == pytest.approx(each.mean(), rel=1e-5)
    unknown = torch.where(known, labels.float(), torch.nan)
    found = train.binary_cross_entropy(logits, unknown, known, weights, smoothing)
    assert float(found) == pytest.approx(each[known].mean(), rel=1e-5)


def test_what_is_not_known_has_no_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    labels, known = torch.full((4, 3), torch.nan), torch.zeros(4, 3, dtype=torch.bool)
    loss = train.binary_cross_entropy(logits, labels, known)
    loss.backward()
    assert float(loss) == 0 and float(logits.grad.abs().max()) == 0
    logits.grad, known[1, 2], labels[1, 2] = None, True, 1
    train.binary_cross_entropy(logits, labels, known).backward()
    assert (logits.grad != 0).tolist() == known.tolist()


def test_divergence_of_each_sample_by_scipy():
    ours, exact, _ = drawn()
    p, q = (expit(each.numpy().astype(float)) for each in (exact, ours))
    expected = (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).sum(1)
    np.testing.assert_allclose(train.divergence(ours, exact).numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(float(train.mld_loss(ours, exact)), expected.mean(), rtol=1e-5)
    assert float(train.divergence(exact, exact).abs().max()) < 1e-6


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_label_is_a_question_of_two_classes(temperature):
    """Hinton's loss of the logits z and 0 is that of the label's logit z."""
    ours, exact, _ = drawn()
    two = [torch.stack([each.flatten(), torch.zeros(150)], 1) for each in (ours, exact)]
    expected = 5 * kd_loss(*two, temperature)
    torch.testing.assert_close(train.mld_loss(ours, exact, temperature), expected)


def test_the_gradient_pulls_each_label_by_itself():
    """d/dz KL(p ‖ σ(z)) = σ(z) − p, which no other label changes."""
    ours, exact, _ = (each.double() for each in drawn())
    ours.requires_grad_()
    train.mld_loss(ours, exact).backward()
    torch.testing.assert_close(ours.grad, (ours.sigmoid() - exact.sigmoid()).detach() / 30)


def test_logits_far_out_stay_finite():
    far = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = train.mld_loss(far, -far.detach())
    loss.backward()
    assert loss.isfinite() and far.grad.isfinite().all()


def test_ranges():
    ours, exact, labels = drawn()
    with pytest.raises(TrainingError, match="temperature must be"):
        train.mld_loss(ours, exact, 0)
    with pytest.raises(TrainingError, match="label_smoothing must be"):
        train.binary_cross_entropy(ours, labels, label_smoothing=1)


def test_probabilities_are_refused():
    logits, _, _ = drawn()
    train.must_be_logits(logits, "net")
    train.must_be_logits(torch.zeros(3, 2), "net")  # an untrained network may give one value for all
    with pytest.raises(ModelError, match="^net gives probabilities, .*as after a sigmoid; .*return the logits"):
        train.must_be_logits(logits.sigmoid(), "net")
