import json
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax
from torch import nn

from edgekd.distill import kd_loss
from edgekd.distill.ensemble import Ensemble
from edgekd.errors import TrainingError
from edgekd.models import build

SHAPE, CLASSES, SAMPLES = (1, 8, 8), 5, 7


class Answers(nn.Module):
    """Whatever it is asked, ``logits``."""

    def __init__(self, logits: np.ndarray):
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits


def logits(teachers: int, seed: int = 0, size: float = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(teachers, SAMPLES, CLASSES)) * size


def answer(given: np.ndarray, *args: object, **options: object) -> np.ndarray:
    return Ensemble([Answers(each) for each in given], *args, **options)(torch.zeros(SAMPLES)).numpy()


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [build("small_cnn", SHAPE, CLASSES, width=4), build("resnet8", SHAPE, CLASSES, width=4)]


@pytest.mark.parametrize("weights", [None, (1, 2, 3), (0.5, 0, 0.5)])
def test_probabilities_by_scipy(weights):
    given = logits(3)
    expected = np.average(softmax(given, axis=-1), axis=0, weights=weights)
    np.testing.assert_allclose(softmax(answer(given, weights), axis=-1), expected, rtol=1e-10)
    np.testing.assert_allclose(answer(given, weights), np.log(expected), rtol=1e-10)


@pytest.mark.parametrize("weights", [None, (1, 2, 3), (0.5, 0, 0.5)])
def test_logits_by_numpy(weights):
    given = logits(3)
    expected = np.average(given, axis=0, weights=weights)
    np.testing.assert_allclose(answer(given, weights, space="logits"), expected, rtol=1e-10)


def test_the_mean_of_logits_is_the_geometric_mean_of_probabilities():
    given = logits(3)
    geometric = np.exp(log_softmax(given, axis=-1).mean(0))
    expected = geometric / geometric.sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax(answer(given, space="logits"), axis=-1), expected, rtol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_the_most_confident_teacher_answers(seed):
    given = logits(4, seed)
    chosen = softmax(given, axis=-1).max(-1).argmax(0)
    expected = given[chosen, np.arange(SAMPLES)]
    np.testing.assert_array_equal(answer(given, choose="confidence", space="logits"), expected)
    np.testing.assert_allclose(answer(given, choose="confidence"), log_softmax(expected, axis=-1), rtol=1e-10)


def test_confidence_beyond_the_precision_of_probabilities():
    """1 − 2e-9 and 1 − 2e-13 are both 1 in float32."""
    given = np.array([[[20.0, 0, 0]], [[0, 30.0, 0]]], dtype=np.float32)
    assert answer(given, choose="confidence", space="logits").tolist() == [[0, 30, 0]]
    assert answer(given[::-1].copy(), choose="confidence", space="logits").tolist() == [[0, 30, 0]]


@pytest.mark.parametrize("choose", ["mean", "confidence"])
@pytest.mark.parametrize("space", ["probabilities", "logits"])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_teachers_does_not_matter(choose, space, seed):
    given, order = logits(4, seed), np.random.default_rng(seed).permutation(4)
    first, second = (answer(each, choose=choose, space=space) for each in (given, given[order]))
    np.testing.assert_allclose(first, second, rtol=1e-10)


@pytest.mark.parametrize("space", ["probabilities", "logits"])
def test_what_weights_do(space):
    given = logits(3)
    np.testing.assert_allclose(answer(given, (7, 7, 7), space=space), answer(given, space=space), rtol=1e-12)
    np.testing.assert_allclose(answer(given, (0, 4, 0), space=space), answer(given[1:2], space=space), rtol=1e-12)
    np.testing.assert_allclose(answer(given, (1, 2, 0), space=space), answer(given, (3, 6, 0), space=space), rtol=1e-12)


@pytest.mark.parametrize("choose", ["mean", "confidence"])
def test_equal_teachers_are_one_teacher(choose):
    given = logits(1)
    np.testing.assert_allclose(answer(given.repeat(3, 0), choose=choose), log_softmax(given[0], axis=-1), rtol=1e-10)
    np.testing.assert_allclose(answer(given + 5, choose=choose), answer(given, choose=choose), rtol=1e-10)


@pytest.mark.parametrize("choose", ["mean", "confidence"])
@pytest.mark.parametrize("space", ["probabilities", "logits"])
def test_large_logits_stay_finite(choose, space):
    given = (np.sign(logits(3)) * 1e4).astype(np.float32)
    assert np.isfinite(answer(given, choose=choose, space=space)).all()
    if (choose, space) == ("mean", "probabilities"):
        expected = logsumexp(log_softmax(given.astype(float), axis=-1), axis=0) - math.log(3)
        np.testing.assert_allclose(answer(given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("choose", ["mean", "confidence"])
def test_narrow_logits_are_widened(choose):
    ensemble = Ensemble([Answers(each).bfloat16() for each in logits(2)], choose=choose)
    assert ensemble(torch.zeros(SAMPLES)).dtype == torch.float32


def test_teachers_are_left_as_they_are():
    """No gradient, no training mode; the inputs get none either."""
    ensemble = Ensemble(networks()).train()
    before = {name: value.clone() for name, value in ensemble.state_dict().items()}
    inputs = torch.randn(4, *SHAPE, requires_grad=True)
    student = torch.randn(4, CLASSES, requires_grad=True)
    kd_loss(student, ensemble(inputs)).backward()
    assert student.grad is not None
    assert inputs.grad is None
    assert not any(module.training for module in ensemble.modules())
    assert not any(each.requires_grad or each.grad is not None for each in ensemble.parameters())
    assert all(torch.equal(before[name], value) for name, value in ensemble.state_dict().items())


def test_it_moves():
    ensemble, inputs = Ensemble(networks()), torch.randn(4, *SHAPE)
    narrow = ensemble(inputs)
    wide = ensemble.to(torch.float64)(inputs.double())
    assert wide.dtype == torch.float64
    np.testing.assert_allclose(narrow, wide, rtol=1e-4)
    assert {each.device.type for each in (*ensemble.to("meta").parameters(), *ensemble.buffers())} == {"meta"}
    assert ensemble(torch.zeros(4, *SHAPE, device="meta", dtype=torch.float64)).shape == (4, CLASSES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights": (1,)}, "1 weights for 2 teachers: give one for each of them"),
        (
            {"weights": (1, -1)},
            "weights [1, -1] cannot be shares of a mean: give numbers of at least 0, and one of them above",
        ),
        (
            {"weights": (0, 0)},
            "weights [0, 0] cannot be shares of a mean: give numbers of at least 0, and one of them above",
        ),
        (
            {"weights": (1, math.nan)},
            "weights [1, nan] cannot be shares of a mean: give numbers of at least 0, and one of them above",
        ),
        (
            {"weights": (1, 2), "choose": "confidence"},
            "weights are of a mean, and confidence chooses one teacher: leave weights out",
        ),
        (
            {"choose": "confident"},
            "choose cannot be 'confident' (did you mean 'confidence'?): it is mean or confidence",
        ),
        ({"space": "logit"}, "space cannot be 'logit' (did you mean 'logits'?): it is probabilities or logits"),
    ],
)
def test_options_that_cannot_be(options, expected):
    with pytest.raises(TrainingError) as error:
        Ensemble(networks(), **options)
    assert str(error.value) == expected


def test_no_teachers():
    with pytest.raises(TrainingError, match="^an ensemble without teachers has no outputs: give it at least one"):
        Ensemble([])


def test_teachers_of_other_classes():
    ensemble = Ensemble([*networks(), build("mlp", SHAPE, CLASSES + 1)])
    with pytest.raises(TrainingError) as error:
        ensemble(torch.zeros(2, *SHAPE))
    assert str(error.value) == (
        "teacher 0 (Sequential) gives 5 classes and teacher 2 (Sequential) 6: "
        "teachers of one ensemble are trained on the same classes"
    )


def test_teachers_that_give_no_logits():
    class Pair(nn.Module):
        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return inputs, inputs

    with pytest.raises(TrainingError) as error:
        Ensemble([Pair()])(torch.zeros(2, CLASSES))
    assert str(error.value) == "teacher 0 (Pair) gives a tuple: wrap it so that it gives logits (N, classes)"
    with pytest.raises(TrainingError, match=r"^teacher 0 \(Identity\) gives \(2,\): wrap it"):
        Ensemble([nn.Identity()])(torch.zeros(2))


@pytest.mark.parametrize("space", ["logits", "probabilities"])
@pytest.mark.parametrize("choose", ["mean", "confidence"])
def test_maps_of_logits_are_combined_place_by_place(choose, space):
    """As if each place of (N, classes, H, W) were a sample of its own."""

    class Shifted(nn.Module):
        def __init__(self, by: torch.Tensor):
            super().__init__()
            self.by = by

        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"first": inputs + self.by, "second": 2 * inputs - self.by}

    drawn = torch.Generator().manual_seed(0)
    maps, *shifts = torch.randn(3, 2, CLASSES, 3, 4, generator=drawn).unbind()
    found = Ensemble([Shifted(each) for each in shifts], choose=choose, space=space)(maps)
    flat, *rows = (each.movedim(1, -1).reshape(-1, CLASSES) for each in (maps, *shifts))
    expected = Ensemble([Shifted(each) for each in rows], choose=choose, space=space)(flat)
    for name, each in expected.items():
        torch.testing.assert_close(found[name].movedim(1, -1).reshape(-1, CLASSES), each)


def test_weights_of_numpy():
    ensemble = Ensemble(networks(), weights=np.array([1, 3], np.float32))
    assert ensemble.weights == [0.25, 0.75]
    assert json.loads(ensemble.rule) == ["mean", "probabilities", [0.25, 0.75]]
