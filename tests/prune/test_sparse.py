import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_pruning as tp
from sklearn.datasets import load_digits
from torch import nn

from edgekd.errors import ModelError, TrainingError
from edgekd.prune.sparse import GroupNorm, shrinkage
from tests.prune.importance.networks import CASES, Case, Flattened, Residual, arrays, made

SHAPE = (3, 6, 6)


def squares(case: Case, network: nn.Module) -> np.ndarray:
    return np.array(
        [
            sum((arrays(network, path, index)[0] ** 2).sum() for path, _, index in case.parts(channel))
            for channel in range(case.width)
        ]
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_norms_are_over_all_that_the_group_has_of_a_channel(case):
    network = made(case.network)
    found = GroupNorm(network, SHAPE).norms()
    np.testing.assert_allclose(found[case.root].numpy(), np.sqrt(squares(case, network)), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 4.0])
def test_the_gradient_of_the_penalty(alpha):
    """Every weight once for each group that it is in: by its outputs, by its inputs, or by both."""
    network = made(Flattened)
    before = {name: each.grad.clone() for name, each in network.named_parameters()}
    GroupNorm(network, SHAPE, strength=0.1, alpha=alpha).step()
    decay = {name: np.zeros(each.shape) for name, each in network.named_parameters()}
    for case in (CASES["linear behind a flatten"], CASES["linear"]):
        total = squares(case, network)
        gamma = 2 ** (alpha * (total.max() - total) / (total.max() - total.min()))
        for channel in range(case.width):
            for path, _, index in case.parts(channel):
                decay[f"{path}.weight"][index] += 0.1 * gamma[channel]
    for name, each in network.named_parameters():
        added = (each.grad - before[name]).numpy()
        np.testing.assert_allclose(added, decay[name] * each.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert decay["hidden.weight"].min() > 0
    assert decay["conv.bias"].max() == decay["head.bias"].max() == 0


def gamma(squares: np.ndarray) -> np.ndarray:
    return 2 ** (4 * (squares.max() - squares) / (squares.max() - squares.min()))


@pytest.mark.parametrize(
    ("case", "shape", "axis", "layer"),
    [
        # two groups of ten: the same place in both; four groups of three: all of a group
        ("into groups", (2, 10), 0, "first"),
        ("whole groups", (4, 3), 1, "norm"),
    ],
)
def test_channels_that_go_together_are_drawn_alike(case, shape, axis, layer):
    network = made(CASES[case].network)
    network.zero_grad(set_to_none=False)
    tied = squares(CASES[case], network).reshape(shape).mean(axis, keepdims=True)
    GroupNorm(network, SHAPE, strength=1.0).step()
    weight = network.get_submodule(layer).weight
    found = (weight.grad / weight).detach().reshape(len(weight), -1).mean(1).numpy()
    np.testing.assert_allclose(found, np.broadcast_to(gamma(tied), shape).ravel(), rtol=1e-5)


def test_a_whole_group_is_drawn_once():
    """Its convolution is in the dependency group by both sides, with the same weights."""
    network = made(CASES["whole groups"].network)
    network.zero_grad(set_to_none=False)
    tied = squares(CASES["whole groups"], network).reshape(4, 3).mean(1)
    GroupNorm(network, SHAPE, strength=1.0).step()
    added = (network.grouped.weight.grad / network.grouped.weight).detach().flatten(1)
    np.testing.assert_allclose(added.numpy(), np.repeat(gamma(tied), 3)[:, None].repeat(18, 1), rtol=1e-4)


def test_shrinkage_is_between_one_and_a_power_of_two():
    gamma = shrinkage(torch.tensor([0.0, 1.0, 3.0, 4.0]), 4.0)
    np.testing.assert_allclose(gamma.numpy(), [16, 8, 2, 1])
    assert shrinkage(torch.full((3,), 2.0), 4.0).tolist() == [1, 1, 1]


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    regulariser: GroupNorm
    kept: dict[str, np.ndarray]  # what each channel's norm was multiplied by


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    return torch.tensor(found.images / 16).float().unsqueeze(1), torch.tensor(found.target)


def trained(strength: float | None) -> Trained:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    images, labels = digits()
    regulariser = GroupNorm(network, (1, 8, 8), strength=strength or 1.0)
    before = regulariser.norms()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(60):
        chosen = torch.arange(64 * step, 64 * (step + 1)) % 1500
        optimizer.zero_grad()
        F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        if strength is not None:
            regulariser.step()
        optimizer.step()
    kept = {root: (norms / before[root]).numpy() for root, norms in regulariser.norms().items()}
    return Trained(network.eval(), regulariser, kept)


@torch.no_grad()
def held_out(network: nn.Module) -> tuple[float, float]:
    """Accuracy and cross-entropy on digits that it was not trained on."""
    images, labels = digits()
    logits = network(images[1500:])
    return float((logits.argmax(1) == labels[1500:]).float().mean()), float(F.cross_entropy(logits, labels[1500:]))


def half_as_wide(one: Trained) -> nn.Module:
    network = copy.deepcopy(one.network)
    graph = tp.DependencyGraph().build_dependency(network, torch.zeros(2, 1, 8, 8))
    for root, norms in one.regulariser.norms().items():
        weakest = norms.argsort()[:8].tolist()
        graph.get_pruning_group(network[int(root)], tp.prune_conv_out_channels, weakest).prune()
    return network


@pytest.fixture(scope="module")
def sparse() -> Trained:
    return trained(0.01)


def test_some_channels_fall_and_others_stand(sparse):
    plain = trained(None)
    assert set(sparse.kept) == {"0", "3"}
    for root in sparse.kept:
        assert plain.kept[root].min() > 0.9
        assert sparse.kept[root].min() < 0.2
        assert sparse.kept[root].max() > 8 * sparse.kept[root].min()
    (plain_accuracy, plain_loss), (accuracy, loss) = held_out(plain.network), held_out(sparse.network)
    assert accuracy > plain_accuracy - 0.05
    lost = held_out(half_as_wide(sparse))[1] - loss
    assert lost < 0.5 * (held_out(half_as_wide(plain))[1] - plain_loss), "the cut costs less after it"


def test_it_is_the_same_each_time(sparse):
    again = trained(0.01).network.state_dict()
    assert all(torch.equal(again[name], value) for name, value in sparse.network.state_dict().items())


def test_the_network_is_left_alone_until_the_step():
    network = made(Residual).train()
    network.norm1.eval()
    network.stem.weight.requires_grad_(False)
    gradients = {name: each.grad for name, each in network.named_parameters()}
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        found = GroupNorm(network, SHAPE).norms()
    assert set(found) == {"conv1", "conv2"}
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert all(each.grad is gradients[name] for name, each in network.named_parameters())
    assert network.training
    assert not network.norm1.training
    assert [name for name, each in network.named_parameters() if not each.requires_grad] == ["stem.weight"]


def test_outputs_and_ignored_layers_are_left_alone():
    network = made(Flattened)
    before = network.conv.weight.grad.clone(), network.hidden.weight.grad.clone()
    regulariser = GroupNorm(network, SHAPE, strength=1.0, ignored=[network.hidden])
    assert set(regulariser.norms()) == {"conv"}
    regulariser.step()
    assert not torch.equal(network.conv.weight.grad, before[0])
    assert not torch.equal(network.hidden.weight.grad, before[1])  # by its inputs
    headless = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert set(GroupNorm(headless, SHAPE).norms()) == {"0"}


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"strength": 0.0}, TrainingError, "strength must be a finite number above 0, got 0.0"),
        ({"strength": float("nan")}, TrainingError, "strength must be a finite number above 0, got nan"),
        ({"alpha": -1.0}, TrainingError, "alpha must be a finite number of at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range(settings, error, says):
    with pytest.raises(error) as raised:
        GroupNorm(made(Flattened), SHAPE, **settings)
    assert str(raised.value) == says


def test_nothing_to_regularise():
    with pytest.raises(ModelError, match=r"^Sequential has no channels to regularise by groups: ignore fewer layers, "):
        GroupNorm(nn.Sequential(nn.Flatten(), nn.Linear(108, 4)), SHAPE)


def test_a_step_before_the_gradients():
    regulariser = GroupNorm(Flattened(), SHAPE)
    with pytest.raises(TrainingError, match=r"no gradients: call step\(\) after loss.backward\(\)$"):
        regulariser.step()
