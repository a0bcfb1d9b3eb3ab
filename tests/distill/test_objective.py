import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.distill import (
    DIST,
    DKD,
    KD,
    SP,
    Distillation,
    FitNet,
    Schedule,
    Standardized,
    Term,
    feature_shapes,
    kd_loss,
)
from edgekd.distill.losses import CWD
from edgekd.errors import TrainingError
from edgekd.models import build
from edgekd.recipe import Train
from edgekd.train import Batch, CrossEntropy, FitOptions, fit, metric_of


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher, student = (build("small_cnn", (1, 8, 8), 10, width=width) for width in (8, 4))
    return teacher, student


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 10, (16,), generator=generator)


def test_the_labels_alone():
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(), hard_weight=1, label_smoothing=0.1)(student.eval(), Batch(inputs, labels))
    torch.testing.assert_close(ours, F.cross_entropy(student(inputs), labels, label_smoothing=0.1))


def test_the_teacher_alone():
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(2.0), hard_weight=0)(student.eval(), Batch(inputs, labels))
    torch.testing.assert_close(ours, kd_loss(student(inputs), teacher.eval()(inputs), 2.0))


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_mixture(weight):
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(), hard_weight=weight)(student.eval(), Batch(inputs, labels))
    hard = F.cross_entropy(student(inputs), labels)
    soft = kd_loss(student(inputs), teacher.eval()(inputs))
    torch.testing.assert_close(ours, weight * hard + (1 - weight) * soft)


def test_the_teacher_is_left_as_it_is(few_digits):
    teacher, student = networks()
    before = copy.deepcopy(teacher.state_dict())
    objective = Distillation(teacher, KD())
    fit(student, few_digits, Train(epochs=1), objective, FitOptions(float32=True))
    assert not any(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_student_learns_from_its_teacher_alone(digits, trained):
    """Without a single label."""
    _, student = networks()
    objective = Distillation(copy.deepcopy(trained), KD(4.0), hard_weight=0)
    fit(student, digits, Train(epochs=3, lr=0.1), objective, FitOptions(float32=True))
    assert metric_of(student, digits, digits.validation) > 0.8


def test_cross_entropy_smooths_labels():
    _, student = networks()
    inputs, labels = batch()
    ours = CrossEntropy(0.2)(student.eval(), Batch(inputs, labels))
    probability = F.log_softmax(student(inputs), 1)
    expected = -(0.8 * probability[range(16), labels] + 0.2 * probability.mean(1)).mean()
    torch.testing.assert_close(ours, expected)


def test_unlabelled_samples_count_for_the_teacher_alone():
    teacher, student = networks()
    inputs, labels = batch()
    some = labels.clone()
    some[::2] = -1
    ours = Distillation(teacher, KD(), hard_weight=0.5).terms(student.eval(), Batch(inputs, some))
    torch.testing.assert_close(ours["labels"], 0.5 * F.cross_entropy(student(inputs[1::2]), labels[1::2]))
    torch.testing.assert_close(ours["teacher"], 0.5 * kd_loss(student(inputs), teacher.eval()(inputs)))
    none = Distillation(teacher, KD(), hard_weight=0.5).terms(student, Batch(inputs, torch.full((16,), -1)))
    assert float(none["labels"]) == 0
    sum(none.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in student.parameters())


def test_a_sum_of_losses_with_their_weights():
    teacher, student = networks()
    inputs, labels = batch()
    paths = ("0", "0")
    hint = FitNet(
        *([shape] for shape in (feature_shapes(n, [paths[0]], (1, 8, 8))[0] for n in (student, teacher)))
    ).eval()
    terms = [Term("kd", KD(2.0), 0.5), Term("fitnet", hint, Schedule("linear", 0.0, 10.0), [paths])]
    found = Distillation(teacher, terms, hard_weight=0.2).terms(student.eval(), Batch(inputs, labels, progress=0.25))
    assert list(found) == ["labels", "kd", "fitnet"]
    torch.testing.assert_close(found["kd"], 0.8 * 0.5 * kd_loss(student(inputs), teacher.eval()(inputs), 2.0))
    maps = ([network.get_submodule(paths[0])(inputs)] for network in (student, teacher))
    torch.testing.assert_close(found["fitnet"], 0.8 * 2.5 * hint(*maps))


def test_the_temperature_follows_its_schedule():
    teacher, student = networks()
    inputs, labels = batch()
    objective = Distillation(teacher, KD(4.0), hard_weight=0, temperature=Schedule("linear", 8.0, 2.0))
    for progress, temperature in ((0.0, 8.0), (0.5, 5.0)):
        ours = objective(student.eval(), Batch(inputs, labels, progress=progress))
        torch.testing.assert_close(ours, kd_loss(student(inputs), teacher.eval()(inputs), temperature))


def test_the_temperature_is_told():
    teacher, _ = networks()
    schedule = Schedule("linear", 8.0, 2.0)
    assert Distillation(teacher, KD(3.0)).metrics(0.5) == {"temperature": 3.0}
    assert Distillation(teacher, Standardized(KD(3.0)), temperature=schedule).metrics(0.5) == {"temperature": 5.0}
    assert Distillation(teacher, DIST()).metrics(0.5) == {"temperature": 1.0}
    assert Distillation(teacher, [Term("sp", SP([(4, 2, 2)], [(8, 2, 2)]), 1.0, [("0", "0")])]).metrics(0.5) == {}


def test_balanced_terms_pull_alike():
    """With all weights 1 each term's gradient has the size of the first one's."""
    teacher, student = networks()
    inputs, labels = batch()
    terms = [Term("kd", KD()), Term("dkd", DKD(beta=50.0))]
    found = Distillation(teacher, terms, hard_weight=0, balance=True).terms(student.eval(), Batch(inputs, labels))
    sizes = []
    for term in found.values():
        gradients = torch.autograd.grad(term, list(student.parameters()), retain_graph=True)
        sizes.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)


def test_adapters_are_trained_along_and_the_terms_are_told(few_digits):
    teacher, student = networks()
    hint = FitNet(*([feature_shapes(network, ["0"], (1, 8, 8))[0]] for network in (student, teacher)))
    before = copy.deepcopy(hint.state_dict())
    objective = Distillation(teacher, [Term("fitnet", hint, 1.0, [("0", "0")])], hard_weight=0.5)
    history = fit(student, few_digits, Train(epochs=1), objective, FitOptions(float32=True))
    weights = [name for name, _ in hint.named_parameters()]
    assert weights and all(not torch.equal(before[name], hint.state_dict()[name]) for name in weights)
    assert set(history[0].terms) == {"labels", "fitnet"}
    assert sum(history[0].terms.values()) == pytest.approx(history[0].loss)
    assert not [name for name in student.state_dict() if "adapter" in name]


def test_the_teacher_stays_in_evaluation_mode():
    """Also where somebody switches the objective, as its adapters need: its statistics are not those of a training."""
    teacher, student = networks()
    shapes = [feature_shapes(network, ["2"], (1, 8, 8)) for network in (student, teacher)]
    objective = Distillation(teacher, [Term("hints", FitNet(*shapes), 1.0, [("2", "2")])])
    assert not objective.eval().losses[0].loss.training
    before = copy.deepcopy(teacher.state_dict())
    assert objective.train() is objective and objective.losses[0].loss.training
    assert not any(module.training for module in teacher.modules())
    objective(student.train(), Batch(*batch())).backward()
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_network_in_double_precision_has_its_loss_in_it():
    """In float32 the cross-entropy would be off by 1e-8."""
    teacher, student = (network.double() for network in networks())
    inputs, labels = batch()
    ours = Distillation(teacher, KD(), hard_weight=0.5)(student.eval(), Batch(inputs.double(), labels))
    logits, targets = student(inputs.double()), teacher.eval()(inputs.double())
    by_hand = 0.5 * F.cross_entropy(logits, labels) + 0.5 * kd_loss(logits, targets)
    torch.testing.assert_close(ours, by_hand, rtol=1e-13, atol=0)


def test_a_schedule_is_for_every_loss_with_a_temperature():
    teacher, student = networks()
    shapes = [feature_shapes(network, ["3"], (1, 8, 8)) for network in (student, teacher)]
    schedule = Schedule("linear", 8.0, 2.0)
    term = Term("maps", CWD(*shapes), 1.0, [("3", "3")])
    assert Distillation(teacher, [term], temperature=schedule).metrics(0.5) == {"temperature": 5.0}
    objective = Distillation(teacher, [term], hard_weight=0, temperature=schedule)
    objective(student, replace(Batch(*batch()), progress=0.5))
    assert term.loss.temperature == 5.0
    hints = Term("hints", FitNet(*shapes), 1.0, [("3", "3")])
    with pytest.raises(TrainingError, match="no loss has a temperature that a schedule could change: leave it out"):
        Distillation(teacher, [hints], temperature=schedule)
