import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from edgekd.distill.losses.crd import CRD, nce_loss
from edgekd.distill.losses.memory import draw_negatives
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError

SEEDS = range(3)
SAMPLES = 30
SHAPES = [(5, 4, 4)], [(7,)]


def similarities(seed: int = 0, samples: int = 4, negatives: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    cosines = torch.rand(samples, negatives + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 2 * cosines[:, 0] - 1, 2 * cosines[:, 1:] - 1


def built(samples: int = SAMPLES, **options) -> CRD:
    torch.manual_seed(0)
    return CRD(*SHAPES, samples=samples, **{"feat_dim": 6, "negatives": 9} | options).double()


def batch(seed: int = 0, count: int = 4) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = ([torch.randn(count, *s[0], generator=generator, dtype=torch.float64)] for s in SHAPES)
    return student, teacher, torch.randperm(SAMPLES, generator=generator)[:count]


def nce_by_numpy(positive: np.ndarray, negative: np.ndarray, samples: int, z: float, tau: float) -> float:
    """−log h(positive) − Σ log(1 − h(negative)), with probabilities and not their logarithms."""
    noise = negative.shape[1] / samples
    p, q = np.exp(positive / tau) / z, np.exp(negative / tau) / z
    return float(np.mean(-np.log(p / (p + noise)) - np.log(1 - q / (q + noise)).sum(1)))


@pytest.mark.parametrize("tau", [0.07, 0.5, 2.0])
@pytest.mark.parametrize("z", [1.0, 3e4])
def test_the_value_by_numpy(tau, z):
    positive, negative = similarities()
    expected = nce_by_numpy(positive.numpy(), negative.numpy(), 50, z, tau)
    assert float(nce_loss(positive, negative, 50, np.log(z), tau)) == pytest.approx(expected, rel=1e-8)
    assert float(nce_loss(positive.float(), negative.float(), 50, np.log(z), tau)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("log_z", [0.0, 8.0])
def test_the_gradient_by_finite_differences(log_z):
    positive, negative = (s.requires_grad_() for s in similarities())
    assert torch.autograd.gradcheck(lambda p, n: nce_loss(p, n, 50, log_z, 0.3), (positive, negative))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_loss_does_not_see(seed):
    positive, negative = similarities(seed)
    expected = nce_loss(positive, negative, 50, 2.0, 0.2)
    order, columns = torch.randperm(4), torch.randperm(9)
    torch.testing.assert_close(nce_loss(positive[order], negative[order][:, columns], 50, 2.0, 0.2), expected)
    torch.testing.assert_close(nce_loss(positive + 3, negative + 3, 50, 2.0 + 3 / 0.2, 0.2), expected)
    torch.testing.assert_close(nce_loss(5 * positive, 5 * negative, 50, 2.0, 5 * 0.2), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_agreement_lowers_it_and_likeness_of_others_raises_it(seed):
    positive, negative = (s.requires_grad_() for s in similarities(seed))
    nce_loss(positive, negative, 50).backward()
    assert (positive.grad < 0).all() and (negative.grad > 0).all()


@pytest.mark.parametrize("negatives", [1, 9, 1000])
def test_equal_similarities_cost_what_guessing_does(negatives):
    """With Z = M · exp(s/τ) the positive is one of K + 1 that look alike: h = 1 / (K + 1)."""
    positive, negative = torch.full((3,), 0.4).double(), torch.full((3, negatives), 0.4).double()
    loss = nce_loss(positive, negative, 5000, np.log(5000) + 0.4 / 0.07)
    expected = np.log(negatives + 1) + negatives * np.log((negatives + 1) / negatives)
    assert float(loss) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1])
def test_large_similarities_stay_finite(dtype, sign):
    positive, negative = ((1e4 * sign * s.sign()).to(dtype).requires_grad_() for s in similarities())
    loss = nce_loss(positive, negative, 50)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert positive.grad.isfinite().all() and negative.grad.isfinite().all()


def embedded_by_numpy(linear: torch.nn.Linear, features: torch.Tensor) -> np.ndarray:
    x = features.numpy()
    means = x.mean((2, 3)) if x.ndim == 4 else x
    vectors = means @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    return vectors / np.sqrt((vectors**2).sum(1, keepdims=True))


def side_by_numpy(
    embedded: np.ndarray, vectors: np.ndarray, places: np.ndarray, z: float | None
) -> tuple[float, float]:
    products = np.einsum("nd,nkd->nk", embedded, vectors[places])
    z = np.exp(products / 0.07).mean() * SAMPLES if z is None else z
    return nce_by_numpy(products[:, 0], products[:, 1:], SAMPLES, z, 0.07), z


def test_two_steps_of_the_module_by_numpy():
    """Z is of the first step, and the second one meets vectors that the first one moved."""
    loss, constants = built(), [None, None]
    ours, theirs = (memory.vectors.numpy().copy() for memory in (loss.student_memory, loss.teacher_memory))
    for step in range(2):
        student, teacher, _ = batch(step)
        indices = torch.tensor([2, 0, 29, 7])
        torch.manual_seed(step)
        places = torch.cat([indices[:, None], draw_negatives(indices, 9, SAMPLES)], 1).numpy()
        torch.manual_seed(step)
        value = float(loss(student, teacher, indices))
        of_student = embedded_by_numpy(loss.student_embedding, student[0])
        of_teacher = embedded_by_numpy(loss.teacher_embedding, teacher[0])
        first, constants[0] = side_by_numpy(of_student, theirs, places, constants[0])
        second, constants[1] = side_by_numpy(of_teacher, ours, places, constants[1])
        assert value == pytest.approx(first + second, rel=1e-8)
        for vectors, embedded in ((ours, of_student), (theirs, of_teacher)):
            moved = 0.5 * vectors[indices] + 0.5 * embedded
            vectors[indices] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(loss.student_memory.vectors.numpy(), ours, rtol=1e-10)
    np.testing.assert_allclose(loss.teacher_memory.vectors.numpy(), theirs, rtol=1e-10)
    np.testing.assert_allclose(loss.log_z.numpy(), np.log(constants), rtol=1e-10)


def test_the_modules_gradient_by_finite_differences():
    loss, (student, teacher, indices) = built(), batch()
    loss(student, teacher, indices)
    loss.eval()

    def value(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        parameters = {"teacher_embedding.weight": weight}
        return torch.func.functional_call(loss, parameters, ([features], teacher, indices))

    weight = loss.teacher_embedding.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (student[0].requires_grad_(), weight), fast_mode=True)


def test_all_others_are_negatives_where_the_set_is_small():
    """Then nothing is left to chance, and the order of the batch does not matter either."""
    loss, (student, teacher, indices) = built(negatives=16384), batch()
    assert loss.negatives == SAMPLES - 1
    loss(student, teacher, indices)
    loss.eval()
    value, order = loss(student, teacher, indices), torch.tensor([3, 1, 0, 2])
    torch.manual_seed(9)
    torch.testing.assert_close(loss([student[0][order]], [teacher[0][order]], indices[order]), value)


@pytest.mark.parametrize("seed", SEEDS)
def test_turning_all_embeddings_changes_nothing(seed):
    loss, (student, teacher, indices) = built(negatives=29).eval(), batch(seed)
    value = loss(student, teacher, indices)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)).double()).Q
    for linear in (loss.student_embedding, loss.teacher_embedding):
        linear.weight.data, linear.bias.data = turn @ linear.weight.data, turn @ linear.bias.data
    for memory in (loss.student_memory, loss.teacher_memory):
        memory.vectors = memory.vectors @ turn.T
    torch.testing.assert_close(loss(student, teacher, indices), value)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_features_scale_does_not_matter_but_for_the_bias(seed):
    loss, (student, teacher, indices) = built(negatives=29).eval(), batch(seed)
    loss.student_embedding.bias.data.zero_()
    value = loss(student, teacher, indices)
    torch.testing.assert_close(loss([100 * student[0]], teacher, indices), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_features_stay_finite(dtype):
    loss, (student, teacher, indices) = built().float(), batch()
    ours = (1e4 * student[0].sign()).to(dtype).requires_grad_()
    value = loss([ours], [(1e4 * teacher[0].sign()).to(dtype)], indices)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert all(x.grad.isfinite().all() for x in (ours, *loss.parameters()))
    assert loss.student_memory.vectors.dtype == torch.float32 and loss.student_memory.vectors.isfinite().all()


def test_under_autocast_the_loss_is_in_float32():
    loss, (student, teacher, indices) = built().float(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss([student[0].float()], [teacher[0].float()], indices)
    assert value.dtype == torch.float32 and value.isfinite()


def test_judging_changes_no_memory():
    loss, (student, teacher, indices) = built().eval(), batch()
    before = copy.deepcopy(loss.state_dict())
    assert loss(student, teacher, indices).isfinite()
    torch.testing.assert_close(loss.state_dict(), before, equal_nan=True, rtol=0, atol=0)


def train(loss: CRD, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        student, teacher, indices = batch(step)
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss(student, teacher, indices).backward()
        optimizer.step()


def test_a_training_that_goes_on_ends_in_the_same_bits():
    whole = built()
    train(whole, torch.optim.SGD(whole.parameters(), lr=0.01), range(6))
    first, second = built(), built()
    train(first, torch.optim.SGD(first.parameters(), lr=0.01), range(3))
    torch.manual_seed(99)
    second.load_state_dict(first.state_dict())
    train(second, torch.optim.SGD(second.parameters(), lr=0.01), range(3, 6))
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key


def test_a_short_training_makes_embeddings_of_the_same_sample_agree():
    """Student and teacher see noisy linear images of the same 30 points."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(SAMPLES, 4, generator=generator)
    teacher = (points @ torch.randn(4, 12, generator=generator)).tanh()
    student = (points @ torch.randn(4, 10, generator=generator)).tanh()
    torch.manual_seed(0)
    loss = CRD([(10,)], [(12,)], samples=SAMPLES, feat_dim=16)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)

    def found() -> float:
        """The share of samples whose student's embedding is nearest to its own teacher's."""
        with torch.no_grad():
            products = loss.student_embedding(student) @ normalize(loss.teacher_embedding(teacher)).T
        return float((products.argmax(1) == torch.arange(SAMPLES)).float().mean())

    before = found()
    for step in range(80):
        torch.manual_seed(step)
        chosen = torch.randperm(SAMPLES)[:10]
        optimizer.zero_grad()
        loss([student[chosen]], [teacher[chosen]], chosen).backward()
        optimizer.step()
    assert before < 0.2 and found() > 0.5, "by chance it is 1 of 30"


def test_the_usual_options_are_the_defaults():
    loss = CRD([(64,)], [(256,)], samples=50000)
    assert (loss.negatives, loss.tau, loss.student_memory.momentum) == (16384, 0.07, 0.5)
    assert loss.student_memory.vectors.shape == loss.teacher_memory.vectors.shape == (50000, 128)
    assert {"log_z", "student_memory.vectors", "teacher_memory.vectors"} <= set(loss.state_dict())
    assert LOSSES.find("crd") is CRD
    assert CRD.default_layers([(16, 32, 32), (32, 16, 16), (64,)]) == [2]


@pytest.mark.parametrize("samples", [0, 1])
def test_a_set_of_no_known_size(samples):
    with pytest.raises(TrainingError, match=f"needs 2 at least, got samples={samples}: pass the size of the set"):
        CRD(*SHAPES, samples=samples)


def test_more_than_one_pair():
    with pytest.raises(TrainingError, match="crd compares one pair of layers, and there are 2: name one layer of each"):
        CRD(SHAPES[0] * 2, SHAPES[1] * 2, samples=10)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (None, "crd stores a vector for every sample and needs the batch's indices"),
        (torch.arange(3), r"crd got indices of shape \(3,\) for 4 samples: pass one for each sample"),
        (torch.tensor([0, 1, 2, 30]), "crd got indices from 0 to 30, outside a training set of 30: pass indices"),
        (torch.tensor([0, 1, -1, 2]), "crd got indices from -1 to 2, outside"),
    ],
)
def test_indices_that_cannot_be(indices, message):
    student, teacher, _ = batch()
    with pytest.raises(TrainingError, match=message):
        built()(student, teacher, indices)


@pytest.mark.parametrize(
    "options",
    [
        {"feat_dim": 0},
        {"feat_dim": "128"},
        {"negatives": 0},
        {"negatives": 1.5},
        {"tau": 0},
        {"tau": float("nan")},
        {"tau": "hot"},
        {"momentum": 1},
        {"momentum": -0.1},
    ],
)
def test_options_that_cannot_be(options):
    (name,) = options
    with pytest.raises(TrainingError, match=rf"^crd's {name} must be .*, got .*; [\d.]+ is usual$"):
        built(**options)
