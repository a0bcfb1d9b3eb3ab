import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgekd.errors import ModelError
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.segmentation.train import cross_entropy, dice_loss, divergence, pixel_kd_loss
from tests.tasks.segmentation.drawn import CLASSES, drawn, partly

TASK = Segmentation(tuple("abcd"))


def given(ignored: bool = False, n: int = 3):
    masks, logits = drawn(n, 8)
    stored = torch.from_numpy(partly(masks) if ignored else masks)
    return torch.from_numpy(logits), *TASK.targets(stored).values()


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = np.exp(x - x.max(axis, keepdims=True))
    return shifted / shifted.sum(axis, keepdims=True)


def test_cross_entropy_by_numpy():
    logits, classes, known = given(ignored=True)
    chances = softmax(logits.double().numpy(), 1)
    n, y, x = np.nonzero(known.numpy())
    expected = -np.log(chances[n, classes.numpy()[n, y, x], y, x]).mean()
    assert float(cross_entropy(logits, classes, known)) == pytest.approx(expected, rel=1e-5)
    assert float(cross_entropy(logits, classes, torch.zeros_like(known))) == 0


def test_dice_by_numpy():
    logits, classes, known = given(ignored=True)
    chances, true = softmax(logits.double().numpy(), 1), classes.numpy()
    found = []
    for each in range(CLASSES):
        p, g = chances[:, each][known.numpy()], (true == each)[known.numpy()]
        if g.any():
            found.append(2 * p[g].sum() / (p.sum() + g.sum()))
    assert float(dice_loss(logits, classes, known)) == pytest.approx(1 - np.mean(found), rel=1e-5)
    perfect = 50.0 * F.one_hot(classes.long().clamp(max=CLASSES - 1), CLASSES).movedim(-1, 1)
    assert float(dice_loss(perfect, classes, known)) == pytest.approx(0, abs=1e-6)


def test_the_loss_against_a_teacher_by_numpy():
    student, teacher = (torch.from_numpy(drawn(3, 8, seed=seed)[1]) for seed in (0, 1))
    for temperature in (1.0, 4.0):
        q, p = (softmax(each.double().numpy() / temperature, 1) for each in (student, teacher))
        expected = (p * np.log(p / q)).sum(1).mean() * temperature**2
        assert float(pixel_kd_loss(student, teacher, temperature)) == pytest.approx(expected, rel=1e-4)
    found = divergence(student, teacher)
    assert found.shape == (3,) and float(found.mean()) == pytest.approx(float(pixel_kd_loss(student, teacher)))
    assert float(divergence(student, student).abs().max()) < 1e-6


def test_gradients_reach_logits_and_no_others():
    logits, classes, known = given(ignored=True, n=1)
    teacher = torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = logits.double()[:, :, :4, :4].clone().requires_grad_()
    small = classes[:, :4, :4], known[:, :4, :4]
    losses = (
        lambda x: cross_entropy(x, *small),
        lambda x: dice_loss(x, *small),
        lambda x: pixel_kd_loss(x, teacher[:, :, :4, :4]),
    )
    assert all(torch.autograd.gradcheck(loss, x) for loss in losses)


def test_smaller_logits_are_interpolated():
    logits, classes, known = given()
    half = logits[:, :, ::2, ::2]
    whole = F.interpolate(half, size=(8, 8), mode="bilinear")
    assert float(cross_entropy(half, classes, known)) == pytest.approx(float(cross_entropy(whole, classes, known)))
    assert float(pixel_kd_loss(half, logits)) == pytest.approx(float(pixel_kd_loss(whole, logits)))


def test_logits_larger_than_the_masks_are_interpolated():
    """As of a network that fills images of odd sides up."""
    logits, classes, known = given(ignored=True)
    odd, shown = classes[:, :7, :5], known[:, :7, :5]
    fitting = F.interpolate(logits, size=(7, 5), mode="bilinear", align_corners=False).double().numpy()
    chances, (n, y, x) = softmax(fitting, 1), np.nonzero(shown.numpy())
    expected = -np.log(chances[n, odd.numpy()[n, y, x], y, x]).mean()
    assert float(cross_entropy(logits, odd, shown)) == pytest.approx(expected, rel=1e-5)
    assert float(dice_loss(logits, odd, shown)) == pytest.approx(
        float(dice_loss(torch.from_numpy(fitting), odd, shown)), rel=1e-5
    )


def test_terms_by_name():
    logits, classes, known = given()
    outputs, targets = {"logits": logits}, {"classes": classes, "known": known}
    assert set(TASK.loss(outputs, targets)) == {"labels", "dice"}
    assert set(Segmentation(TASK.names, dice_weight=0).loss(outputs, targets)) == {"labels"}
    other = {"logits": logits + 0.3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))}
    assert float(TASK.soft_loss(other, outputs, targets)["teacher"]) > 0
    with pytest.raises(ModelError, match="^net gives probabilities"):
        TASK.check_outputs({"logits": logits.softmax(1)}, "net")
    TASK.check_outputs(outputs, "net")
