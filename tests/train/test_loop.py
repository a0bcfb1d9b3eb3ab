import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.errors import TrainingError
from edgekd.machine_lock.files import EXCLUSIVE, LOCK, open_and_lock, unlock
from edgekd.models import build
from edgekd.recipe import Train
from edgekd.train import Batch, CrossEntropy, FitOptions, Objective, fit, logits_of, metric_of, predictions_of
from edgekd.train.batches import batches
from edgekd.train.optimizers import OPTIMIZERS
from edgekd.train.transfer import Transfer


def small(seed: int = 0, **args: object) -> nn.Module:
    torch.manual_seed(seed)
    return build("small_cnn", (1, 8, 8), 10, width=4, **args)


def test_digits_are_learned(digits, trained):
    assert metric_of(trained, digits, digits.validation) > 0.9
    assert not trained.training


def test_the_history_says_what_happened(few_digits):
    network, seen = small(), []
    section = Train(epochs=3, lr=0.05, schedule="cosine")
    history = fit(network, few_digits, section, CrossEntropy(), FitOptions(float32=True, log=seen.append))
    assert history == seen
    assert [entry.number for entry in history] == [1, 2, 3]
    steps = 3 * (len(few_digits.train) // 32)
    last = [0.05 * (1 + math.cos(math.pi * (steps * epoch // 3 - 1) / steps)) / 2 for epoch in (1, 2, 3)]
    assert [entry.lr for entry in history] == pytest.approx(last)
    assert history[-1].loss < history[0].loss
    assert history[-1].metrics["validation_accuracy"] == metric_of(network, few_digits, few_digits.validation)


def test_the_history_tells_of_the_teacher(few_digits, trained):
    network, validation = small(), few_digits.validation
    teacher = predictions_of(trained, few_digits, validation)
    history = fit(
        network, few_digits, Train(epochs=2), CrossEntropy(), FitOptions(float32=True, teacher_predictions=teacher)
    )
    ours, theirs = (logits_of(each, few_digits, validation).argmax(1) for each in (network, trained))
    assert history[-1].metrics["agreement"] == pytest.approx(float((ours == theirs).double().mean()))
    right = float((theirs == validation.labels).double().mean())
    assert [entry.metrics["teacher_validation_accuracy"] for entry in history] == pytest.approx([right, right])


def test_others_do_not_time_meanwhile(few_digits, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", str(tmp_path))
    seen = []

    def see(*_: object) -> None:
        seen.append(open_and_lock(tmp_path / LOCK, EXCLUSIVE))

    options = FitOptions(float32=True, before_step=see, to_eval=lambda network: (network.eval(), see()))
    fit(small(), few_digits, Train(epochs=1), CrossEntropy(), options)
    *during, afterwards = seen
    assert len(during) > 5 and set(during) == {None}
    assert afterwards is not None
    unlock(afterwards)


def test_no_epochs_change_nothing(few_digits, tmp_path):
    network = small()
    assert fit(network, few_digits, Train(epochs=0), CrossEntropy(), FitOptions(folder=tmp_path)) == []
    assert all(torch.equal(value, small().state_dict()[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not list(tmp_path.iterdir())


def test_each_step_is_announced(few_digits):
    steps: list[tuple[int, int]] = []
    fit(small(), few_digits, Train(epochs=2), CrossEntropy(), FitOptions(before_step=lambda *step: steps.append(step)))
    assert steps == [(step, 10) for step in range(10)]


class Recorder(Objective):
    """Cross-entropy that keeps the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self.batches.append(batch.inputs.clone())
        return {"labels": nn.functional.cross_entropy(network(batch.inputs), batch.labels)}


def test_an_epoch_sees_whole_batches_of_different_samples(digits):
    recorder = Recorder()
    fit(small(), digits, Train(epochs=1), recorder, FitOptions(float32=True))
    assert [len(batch) for batch in recorder.batches] == [32] * (len(digits.train) // 32)
    seen = {row.numpy().tobytes() for batch in recorder.batches for row in batch}
    known = {row.numpy().tobytes() for row in digits.to_input(digits.train.raw)}
    assert seen <= known
    assert len(seen) == 32 * (len(digits.train) // 32)


def test_the_order_is_another_one_in_each_epoch(digits):
    first, again, second, other = (torch.cat(batches(digits, s, e)) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, other)


def test_a_set_smaller_than_a_batch_is_one_batch(few_digits):
    assert [len(batch) for batch in batches(replace(few_digits, batch_size=1000), 0, 0)] == [len(few_digits.train)]


def test_one_step_of_sgd_by_hand(digits):
    """Nesterov's first step is lr · (1 + momentum) · (gradient + decay · weight); biases do not decay."""
    torch.manual_seed(0)
    network = build("mlp", (1, 8, 8), 10, hidden=())
    weight, bias = network[1].weight.detach().clone(), network[1].bias.detach().clone()
    section = Train(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.01, schedule="constant")
    fit(network, replace(digits, batch_size=len(digits.train)), section, CrossEntropy(), FitOptions(float32=True))
    x = digits.to_input(digits.train.raw).flatten(1).double()
    probability = torch.softmax(x @ weight.double().T + bias.double(), 1)
    error = (probability - nn.functional.one_hot(digits.train.labels, 10)) / len(x)
    step = 0.1 * 1.9
    torch.testing.assert_close(
        network[1].weight.detach().double(),
        weight.double() - step * (error.T @ x + 0.01 * weight.double()),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    torch.testing.assert_close(
        network[1].bias.detach().double(), bias.double() - step * error.sum(0), rtol=1e-4, atol=1e-6
    )


def test_the_average_is_the_average(few_digits):
    weights: list[Tensor] = []
    network = small()
    section = Train(epochs=2, ema=0.8, lr=0.05)

    def collect(step: int, total: int) -> None:
        if step:
            weights.append(network[0].weight.detach().double().clone())

    plain = small()
    fit(plain, few_digits, Train(epochs=2, lr=0.05), CrossEntropy(), FitOptions(float32=True))
    fit(network, few_digits, section, CrossEntropy(), FitOptions(float32=True, before_step=collect))
    weights.append(plain[0].weight.detach().double())
    average = weights[0]
    for weight in weights[1:]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(network[0].weight.detach().double(), average, rtol=1e-5, atol=1e-7)


def test_what_decays():
    section = Train(weight_decay=0.1)
    optimizer = OPTIMIZERS["sgd"](Transfer(small(), section).groups(), section.lr, section.momentum)
    decayed, free = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1 and all(p.ndim > 1 for p in decayed["params"])
    assert free["weight_decay"] == 0.0 and all(p.ndim <= 1 for p in free["params"])


def test_the_gradient_is_clipped(few_digits):
    """With the largest gradient norm known, plain SGD cannot move further than lr times it."""
    network = small()
    before = torch.cat([p.detach().flatten() for p in network.parameters()])
    section = Train(epochs=1, lr=1.0, momentum=0.0, weight_decay=0.0, schedule="constant", clip_norm=0.01)
    fit(network, few_digits, section, CrossEntropy(), FitOptions(float32=True))
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert 0 < float((after - before).norm()) <= 5 * 0.01 * 1.0001


class SquaredError(Objective):
    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        answers = nn.functional.one_hot(batch.labels, 10).float()
        return {"squares": nn.functional.mse_loss(network(batch.inputs), answers)}


def test_a_loss_that_explodes(few_digits):
    with pytest.raises(TrainingError) as error:
        fit(small(), few_digits, Train(epochs=2, lr=1e6), SquaredError(), FitOptions(name="distill", float32=True))
    assert str(error.value) == (
        "distill: the loss became nan in epoch 1; lower lr (now 1e+06), "
        "or set clip_norm (now None), and run again: it starts from the last stage"
    )


def test_same_seed_same_bits(few_digits):
    networks = [small(), small(), small()]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        fit(network, few_digits, Train(epochs=1), CrossEntropy(), FitOptions(seed=seed))
    first, same, other = (tensors_of(network) for network in networks)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.gpu
@pytest.mark.parametrize("float32", [True, False])
def test_on_a_gpu_it_learns_and_comes_back_to_the_cpu(digits, float32):
    network = small()
    history = fit(network, digits, Train(epochs=3), CrossEntropy(), FitOptions(float32=float32))
    assert {each.device.type for each in network.parameters()} == {"cpu"}
    here = metric_of(network, digits, digits.test)
    assert here > 0.8
    assert here == pytest.approx(metric_of(network.cuda(), digits, digits.test), abs=0.01)
    assert history[-1].loss < history[0].loss


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_on_a_gpu_it_goes_on_from_a_checkpoint(few_digits, tmp_path, optimizer):
    def stop(step: int, total: int) -> None:
        if step == 7:
            raise InterruptedError

    section = Train(epochs=2, lr=0.001, optimizer=optimizer)
    whole, parts = small(), small()
    fit(whole, few_digits, section, CrossEntropy(), FitOptions(float32=True))
    kept = FitOptions(float32=True, folder=tmp_path, save_every=0.0)
    with pytest.raises(InterruptedError):
        fit(parts, few_digits, section, CrossEntropy(), replace(kept, before_step=stop))
    again = small(seed=1)
    fit(again, few_digits, section, CrossEntropy(), kept)
    for name, value in tensors_of(whole).items():
        torch.testing.assert_close(tensors_of(again)[name], value, rtol=1e-3, atol=1e-4)


def test_the_callers_random_numbers_stay(few_digits):
    network = small()
    before = torch.get_rng_state()
    fit(network, few_digits, Train(epochs=1), CrossEntropy(), FitOptions(seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_average_of_a_network_with_older_weight_norm(few_digits):
    """The average is of what is trained: the direction and the length of its weight."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(64, 10)))
    fit(network, few_digits, Train(epochs=1, ema=0.5), CrossEntropy(), FitOptions(float32=True))
    layer = network[1]
    expected = layer.weight_g * layer.weight_v / layer.weight_v.norm(dim=1, keepdim=True)
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(network(x), torch.nn.functional.linear(x.flatten(1), expected, layer.bias))
