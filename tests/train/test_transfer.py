from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.data import DataSet
from edgekd.errors import TrainingError
from edgekd.models import build
from edgekd.recipe import Train
from edgekd.train import CrossEntropy, Epoch, FitOptions, fit
from edgekd.train.l2_sp import L2SP
from edgekd.train.transfer import Transfer, parts, trained


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", (1, 8, 8), 10, width=8)


def plain(**settings: Any) -> Train:
    """Steps of plain gradient descent unless told otherwise."""
    return Train(**{"epochs": 1, "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", **settings})


def changed(data: DataSet, section: Train, **arguments: Any) -> set[str]:
    """Names of the tensors that a training moves."""
    before, after = tensors_of(network()), network()
    fit(after, data, section, CrossEntropy(), FitOptions(float32=True, **arguments))
    return {name for name, value in tensors_of(after).items() if not torch.equal(value, before[name])}


def under(*paths: str) -> set[str]:
    return {name for name in tensors_of(network()) if name.startswith(tuple(f"{path}." for path in paths))}


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        ({}, under("conv1", "bn1", "layer1", "layer2", "layer3", "linear")),
        ({"train_only": ("linear",)}, under("linear")),
        ({"train_only": ("lin*",), "ema": 0.9, "weight_decay": 0.1, "optimizer": "adamw"}, under("linear")),
        ({"freeze": ("conv1", "bn1", "layer1.*")}, under("layer2", "layer3", "linear")),
        ({"train_only": ("layer3", "linear"), "freeze": ("*.bn2",)}, under("layer3", "linear") - under("layer3.bn2")),
        ({"train_only": ("*.bias",)}, {name for name in tensors_of(network()) if name.endswith(".bias")}),
        ({"freeze": ("layer?.*",), "l2_sp": 0.1, "momentum": 0.9}, under("conv1", "bn1", "linear")),
    ],
)
def test_what_is_frozen_keeps_every_bit(few_digits, settings, moved):
    """BatchNorm's statistics too, unless a weight of its own is trained."""
    found = changed(few_digits, plain(**settings))
    if settings == {"train_only": ("*.bias",)}:
        # The bias of a BatchNorm learns, so its statistics follow the data.
        moved = moved | {
            n for n in tensors_of(network()) if n.rpartition(".")[2].startswith(("running", "num_batches"))
        }
    assert found == moved


def test_a_norm_without_weights_is_frozen_by_its_path(few_digits):
    def normed() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(144, 10))

    for pattern, moves in (("[01]", False), ("0", True)):
        after = normed()
        fit(after, few_digits, plain(freeze=(pattern,)), CrossEntropy(), FitOptions(float32=True))
        assert bool(after[1].running_mean.any()) == moves


def test_gradients_are_asked_for_again_when_it_is_done(few_digits):
    after = network()
    after.bn1.weight.requires_grad_(False)
    fit(after, few_digits, plain(train_only=("linear",)), CrossEntropy(), FitOptions(float32=True))
    assert [name for name, p in after.named_parameters() if not p.requires_grad] == ["bn1.weight"]


class Stop(Exception):
    """Stands for a kill."""


def test_gradients_are_asked_for_again_after_an_error(few_digits):
    def stop(step: int, total: int) -> None:
        raise Stop

    after = network()
    with pytest.raises(Stop):
        fit(after, few_digits, plain(freeze=("layer1",)), CrossEntropy(), FitOptions(before_step=stop))
    assert all(p.requires_grad for p in after.parameters())


def test_one_part_more_is_trained_after_each_so_many_epochs(few_digits):
    after, seen = network(), []

    def look(epoch: Epoch) -> None:
        seen.append(sorted({name.split(".")[0] for name, p in after.named_parameters() if p.grad is not None}))

    fit(after, few_digits, plain(epochs=7, unfreeze_every=2), CrossEntropy(), FitOptions(float32=True, log=look))
    last = [["linear"], ["layer3", "linear"], ["layer2", "layer3", "linear"]]
    assert seen == [last[0], last[0], last[1], last[1], last[2], last[2], ["layer1", *last[2]]]
    assert not torch.equal(after.layer1.bn1.running_mean, network().layer1.bn1.running_mean)
    assert torch.equal(after.bn1.running_mean, network().bn1.running_mean)
    assert torch.equal(after.conv1.weight, network().conv1.weight)


def test_unfreezing_leaves_out_what_is_never_trained():
    transfer = Transfer(network(), Train(unfreeze_every=1, train_only=("layer1", "layer2")))
    opened = []
    for epoch in range(4):
        transfer.enter(epoch)
        opened.append(
            sorted({name.split(".")[0] for name, p in transfer.network.named_parameters() if p.requires_grad})
        )
    assert opened == [["layer2"], ["layer1", "layer2"], ["layer1", "layer2"], ["layer1", "layer2"]]


def test_each_part_has_its_share_of_the_learning_rate(few_digits):
    """The first step of plain gradient descent is as long as the learning rate."""
    moves: list[dict[str, Tensor]] = []
    for settings in ({}, {"lr_decay": 0.5}):
        after = network()

        def stop(step: int, total: int) -> None:
            if step:
                raise Stop

        with pytest.raises(Stop):
            fit(
                after,
                few_digits,
                plain(lr=0.01, **settings),
                CrossEntropy(),
                FitOptions(float32=True, before_step=stop),
            )
        before = dict(network().named_parameters())
        moves.append({name: (p - before[name]).detach().double() for name, p in after.named_parameters()})
    for name, full in moves[0].items():
        place = {"conv1": 0, "bn1": 0, "layer1": 1, "layer2": 2, "layer3": 3, "linear": 4}[name.split(".")[0]]
        expected = full * 0.5 ** (4 - place)
        torch.testing.assert_close(moves[1][name], expected, rtol=2e-2, atol=2e-7)


def test_the_pull_is_the_gradient_of_the_penalty():
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    start = {name: p.detach().clone().double() for name, p in layer.named_parameters()}
    pull = L2SP(layer.parameters(), 0.3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    now = {name: p.detach().double() for name, p in layer.named_parameters()}
    by_hand = 0.15 * sum(float(((now[name] - start[name]) ** 2).sum()) for name in now)
    assert float(pull.penalty()) == pytest.approx(by_hand, rel=1e-6)
    by_torch = torch.autograd.grad(pull.penalty(), list(layer.parameters()))
    layer.weight.grad = torch.ones_like(layer.weight)
    pull.pull()
    torch.testing.assert_close(layer.weight.grad, 1 + by_torch[0])
    assert layer.bias.grad is None, "what has no gradient is not trained"


def test_l2_sp_by_hand(digits):
    """Steps of momentum SGD: the pull is in the gradient of all but the last layer, which decays."""
    alpha, decay, rate = 0.5, 0.2, 0.1
    x = digits.to_input(digits.train.raw[:32]).flatten(1).double()
    labels = digits.train.labels[:32]
    torch.manual_seed(0)
    net = build("mlp", (1, 8, 8), 10, hidden=(16,))
    w0 = [p.detach().double().clone() for p in net.parameters()]
    w = [p.clone().requires_grad_() for p in w0]
    for _ in range(3):
        hidden = torch.relu(x @ w[0].T + w[1])
        loss = nn.functional.cross_entropy(hidden @ w[2].T + w[3], labels)
        loss = loss + alpha / 2 * sum(((a - b) ** 2).sum() for a, b in zip(w[:2], w0[:2], strict=True))
        loss = loss + decay / 2 * (w[2] ** 2).sum()
        w = [(p - rate * g).detach().requires_grad_() for p, g in zip(w, torch.autograd.grad(loss, w), strict=True)]
    data = replace(digits, train=digits.train.select(torch.arange(32)))
    section = plain(epochs=3, lr=rate, l2_sp=alpha, weight_decay=decay)
    fit(net, data, section, CrossEntropy(), FitOptions(float32=True))
    for ours, theirs in zip(net.parameters(), w, strict=True):
        torch.testing.assert_close(ours.detach().double(), theirs.detach(), rtol=1e-4, atol=1e-6)


def test_the_pull_holds_the_weights(few_digits):
    def moved(**settings: Any) -> float:
        after, before = network(), dict(network().named_parameters())
        fit(after, few_digits, plain(epochs=3, **settings), CrossEntropy(), FitOptions(float32=True))
        return sum(float((p - before[n]).norm()) for n, p in after.named_parameters() if not n.startswith("linear"))

    assert moved(l2_sp=1.0) < 0.8 * moved()


def torchvision_like() -> nn.Module:
    features = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 3))
    )
    return nn.ModuleDict({"features": features, "classifier": nn.Sequential(nn.Dropout(), nn.Linear(4, 3))})


class Transformer(nn.Module):
    """Parameters of its own, and a norm behind the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.embed = nn.Linear(3, 4)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (network, [["conv1.weight", "bn1.weight", "bn1.bias"], "layer1", "layer2", "layer3", "linear"]),
        (
            torchvision_like,
            [
                ["features.0.0.weight", "features.0.0.bias", "features.0.1.weight", "features.0.1.bias"],
                "features.2",
                "classifier",
            ],
        ),
        (lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))), ["0.0", "0.2"]),
        (lambda: nn.Linear(2, 2), [["weight", "bias"]]),
        (
            Transformer,
            [
                ["token", "embed.weight", "embed.bias"],
                [f"blocks.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")] + ["norm.weight", "norm.bias"],
                "head",
            ],
        ),
    ],
)
def test_parts(make: Callable[[], nn.Module], expected: list[Any]):
    built = make()
    names = [name for name, _ in built.named_parameters()]
    wanted = [
        part if isinstance(part, list) else [name for name in names if name.startswith(f"{part}.")] for part in expected
    ]
    assert parts(built) == wanted
    assert [name for part in parts(built) for name in part] == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"freeze": ("layr1.*",)},
            "freeze: 'layr1.*' matches no layer of this ResNet8 (did you mean 'layer1'?); "
            "it has conv1, bn1, layer1, layer2, layer3, linear",
        ),
        (
            {"train_only": ("fc",)},
            "train_only: 'fc' matches no layer of this ResNet8; it has conv1, bn1, layer1, layer2, layer3, linear",
        ),
        (
            {"train_only": ("linear",), "freeze": ("*",)},
            "freeze and train_only leave nothing to train: name fewer layers in freeze, or others",
        ),
    ],
)
def test_layers_that_are_not_there(few_digits, settings, message):
    with pytest.raises(TrainingError) as error:
        fit(network(), few_digits, Train(**settings), CrossEntropy())
    assert str(error.value) == message


def test_what_asks_for_no_gradient_is_not_trained():
    frozen = network()
    frozen.layer1.requires_grad_(False)
    assert "layer1.conv1.weight" not in trained(frozen, (), ())
    assert "layer1.conv1.weight" not in trained(frozen, (), ("layer1", "linear"))


SECTIONS = {
    "frozen": Train(epochs=3, lr=0.05, freeze=("conv1", "bn1", "layer1"), ema=0.9),
    "unfreezing": Train(epochs=3, lr=0.05, unfreeze_every=1, lr_decay=0.5),
    "pulled": Train(epochs=3, lr=0.05, l2_sp=0.1, clip_norm=1.0),
    "all, adamw": Train(
        epochs=3, lr=0.005, l2_sp=0.1, unfreeze_every=2, lr_decay=0.4, freeze=("conv1",), optimizer="adamw"
    ),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_stopped_and_started_again_it_ends_in_the_same_bits(few_digits, tmp_path, name):
    def train(stop_at: int | None, folder: Any) -> tuple[dict[str, Tensor], list[Epoch]]:
        def before_step(step: int, total: int) -> None:
            if step == stop_at:
                raise Stop

        own = network()
        history = fit(
            own, few_digits, SECTIONS[name], CrossEntropy(),
            FitOptions(seed=3, folder=folder, save_every=0, float32=True, before_step=before_step),
        )  # fmt: skip
        return tensors_of(own), history

    whole, history = train(None, None)
    for stop_at in (3, 7, 10):
        with pytest.raises(Stop):
            train(stop_at, tmp_path)
    resumed, same_history = train(None, tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert same_history == history
