import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune.importance import Fisher, Taylor, collect_gradients
from tests.prune.importance.networks import Residual, groups_of

SHAPE = (3, 6, 6)


def batches(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, *SHAPE, generator=generator), torch.randint(0, 4, (size,), generator=generator))
        for size in sizes
    ]


def softmax_regression() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 4)).double()


def closed_form(network: nn.Sequential, data) -> np.ndarray:
    """(samples, classes, inputs): (softmax(Wx + b) − y) xᵀ."""
    inputs = np.concatenate([x.flatten(1).numpy() for x, _ in data])
    labels = np.concatenate([y.numpy() for _, y in data])
    logits = inputs @ network[1].weight.detach().numpy().T + network[1].bias.detach().numpy()
    return (softmax(logits, 1) - np.eye(4)[labels])[:, :, None] * inputs[:, None, :]


def test_batch_is_the_gradient_of_the_mean_over_all_samples():
    network, data = softmax_regression(), [(x.double(), y) for x, y in batches(5, 2, 4)]
    with collect_gradients(network, iter(data), F.cross_entropy, "batch"):
        np.testing.assert_allclose(network[1].weight.grad.numpy(), closed_form(network, data).mean(0), rtol=1e-10)


def test_sample_is_the_mean_of_squared_gradients():
    network, data = softmax_regression(), [(x.double(), y) for x, y in batches(5, 2, 4)]
    with collect_gradients(network, data, F.cross_entropy, "sample"):
        squared = (closed_form(network, data) ** 2).mean(0)
        np.testing.assert_allclose(network[1].weight.squared_grad.numpy(), squared, rtol=1e-10)
        assert network[1].weight.grad is None


def scaled_loss(network: nn.Module, data, channel: int, factor: float) -> float:
    """Cross-entropy with one filter of ``conv2`` scaled, from logits and SciPy."""
    other = copy.deepcopy(network).eval()
    other.conv2.weight.data[channel] *= factor
    logits = np.concatenate([other(x).detach().numpy() for x, _ in data])
    labels = np.concatenate([y.numpy() for _, y in data])
    return float(-log_softmax(logits, 1)[np.arange(len(labels)), labels].mean())


def test_taylor_is_the_change_of_the_loss_to_first_order():
    torch.manual_seed(0)
    network, data = Residual().double(), [(x.double(), y) for x, y in batches(6, 3)]
    group = groups_of(network.float())["conv2"]
    network.double()
    with collect_gradients(network, data, F.cross_entropy, "batch"):
        scores = Taylor(reduction="first", normalise=False)(group)
    step = 1e-5
    slopes = [
        (scaled_loss(network, data, c, 1 + step) - scaled_loss(network, data, c, 1 - step)) / (2 * step)
        for c in range(6)
    ]
    np.testing.assert_allclose(scores.numpy(), np.abs(slopes), rtol=1e-4)


def test_fisher_sees_each_sample_where_their_sum_vanishes():
    """One input, two labels: the gradients cancel out, their squares do not."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3), nn.Linear(3, 2))
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    x, labels = batches(1)[0][0].expand(2, *SHAPE), torch.tensor([0, 1])
    group = groups_of(network)["1"]
    with torch.no_grad():
        network[2].weight.fill_(0.5)
    with collect_gradients(network, [(x, labels)], F.cross_entropy, "batch"):
        assert Taylor("sum", normalise=False)(group).max() < 1e-7
    with collect_gradients(network, [(x, labels)], F.cross_entropy, "sample"):
        scores = Fisher("sum", normalise=False)(group)
        hidden = network[1](x[:1].flatten(1)).detach().double().numpy()[0]
    # softmax(0, 0) − y is ±½ for both classes; through equal weights nothing reaches the first layer
    np.testing.assert_allclose(scores.numpy(), 2 * (0.5 * hidden) ** 2 * 0.25 / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", ["none", "batch", "sample"])
def test_the_network_is_as_it_was(kind):
    network = build("resnet8", (3, 6, 6), 4).train()
    network.layer1.bn1.eval()
    network.conv1.weight.requires_grad_(False)
    gradient = torch.randn_like(network.linear.weight)
    network.linear.weight.grad = gradient
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    with torch.no_grad(), collect_gradients(network, batches(3), F.cross_entropy, kind):
        if kind != "none":
            assert not network.training
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert network.linear.weight.grad is gradient
    assert [name for name, each in network.named_parameters() if each.grad is not None] == ["linear.weight"]
    assert [name for name, each in network.named_parameters() if not each.requires_grad] == ["conv1.weight"]
    assert not any(hasattr(each, "squared_grad") for each in network.parameters())


def test_frozen_layers_have_gradients_too():
    network = Residual()
    network.stem.weight.requires_grad_(False)
    with collect_gradients(network, batches(3), F.cross_entropy, "batch"):
        assert network.stem.weight.grad.abs().sum() > 0
    assert network.stem.weight.grad is None


def test_what_was_cut_inside_has_no_gradient_afterwards():
    network = Residual()
    group = groups_of(network)["conv1"]
    network.conv1.weight.requires_grad_(False)
    with collect_gradients(network, batches(3), F.cross_entropy, "batch"):
        group.prune([0, 2])
        assert network.conv1.weight.grad.shape == network.conv1.weight.shape == (3, 6, 3, 3)
    assert network.conv1.weight.grad is None
    assert not network.conv1.weight.requires_grad
    assert network.conv2.weight.requires_grad


def test_one_kind_inside_the_other():
    network, data = Residual(), batches(3)
    group = groups_of(network)["conv2"]
    with collect_gradients(network, data, F.cross_entropy, "sample"):
        outside = Fisher()(group)
        with collect_gradients(network, data, F.cross_entropy, "batch"):
            Taylor()(group)
        assert torch.equal(Fisher()(group), outside)
        assert network.stem.weight.grad is None


def test_it_is_put_back_after_an_error():
    network = Residual().train()
    with pytest.raises(RuntimeError, match="mine"), collect_gradients(network, batches(3), F.cross_entropy, "batch"):
        raise RuntimeError("mine")
    assert network.training
    assert network.stem.weight.grad is None


@pytest.mark.parametrize(
    ("data", "loss", "kind", "says"),
    [
        (None, F.cross_entropy, "batch", "this importance needs gradients: give batches of inputs and labels, "),
        ([], F.cross_entropy, "sample", "no batch to take gradients from: give at least one"),
        (batches(2), F.cross_entropy, "samples", "unknown kind of gradients 'samples'; known: none, batch, sample"),
        (batches(2), lambda x, y: F.cross_entropy(x, y, reduction="none"), "batch", "one number that depends on "),
        (batches(2), lambda x, y: x.detach().sum(), "batch", "one number that depends on the weights, got ()"),
        (batches(2), lambda x, y: (x * torch.inf).sum(), "batch", "the gradient of 'stem.weight' is infinite or not "),
    ],
)
def test_what_cannot_be(data, loss, kind, says):
    network = Residual().train()
    with pytest.raises(ModelError) as error, collect_gradients(network, data, loss, kind):
        pass
    assert says in str(error.value)
    assert network.training


@pytest.mark.parametrize(("importance", "kind", "other"), [(Taylor, "batch", "sample"), (Fisher, "sample", "batch")])
def test_gradients_that_are_not_there(importance, kind, other):
    network = Residual()
    group = groups_of(network)["conv2"]
    says = (
        "conv2 (Conv2d(5, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))) has no gradients to rank channels by"
    )
    for collected in ("none", other):
        with pytest.raises(ModelError) as error, collect_gradients(network, batches(2), F.cross_entropy, collected):
            importance()(group)
        assert str(error.value).startswith(says)
        assert str(error.value).endswith(f"inside collect_gradients(network, batches, loss, {kind!r})")
