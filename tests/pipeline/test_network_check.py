"""A network that training or comparing would go wrong with is refused for the reason, before any time is spent."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekd.data import load_data
from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.pipeline.network_check import check_inputs, check_network
from edgekd.recipe import Data
from edgekd.spec import Spec
from edgekd.tasks.classification import Classification

TASK = Classification(tuple("0123456789"))
SPEC = Spec("net.py:make", (1, 8, 8), 10)


class Net(nn.Module):
    def __init__(self, forward: Callable[["Net", Tensor], object]):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.aux = nn.Linear(64, 10), nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(1))
        self.said = forward

    def forward(self, x: Tensor) -> object:
        return self.said(self, x.flatten(1))


@pytest.fixture(scope="module")
def inputs() -> Tensor:
    return check_inputs(load_data(Data(source="digits", train_limit=100, test_limit=20)))


def complaint(forward: Callable[[Net, Tensor], object], inputs: Tensor, trained: bool = True) -> str:
    with pytest.raises(ModelError) as error:
        check_network(Net(forward), SPEC, inputs, TASK, trained)
    return str(error.value)


SOFTMAX, LOG, SIGMOID = "after a softmax", "after a log-softmax", "after a sigmoid"


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (lambda y: y.softmax(1), SOFTMAX),
        (lambda y: (y / 4).softmax(1), SOFTMAX),
        (lambda y: y.relu().add(1e-3) / y.relu().add(1e-3).sum(1, keepdim=True), SOFTMAX),
        (lambda y: F.one_hot(y.argmax(1), 10).float(), SOFTMAX),
        (lambda y: y.log_softmax(1), LOG),
        (lambda y: y.softmax(1).log(), LOG),
        (lambda y: y.sigmoid(), SIGMOID),
        (lambda y: y.softmax(0), None),
        (lambda y: F.hardsigmoid(y), SIGMOID),
        (lambda y: y.tanh() / 2 + 0.5, SIGMOID),
    ],
)
def test_probabilities(inputs, head, form):
    message = complaint(lambda net, x: head(net.layer(x)), inputs)
    if form is None:  # over the batch: what it is in a batch is another thing than alone
        assert "alone than in a batch" in message
    else:
        assert message.startswith("net.py:make gives probabilities, ")
        assert form in message
        assert message.endswith("return the logits, the values before it")


TRAINING = [
    (lambda net, x: (net.layer(x), net.aux(x)), "gives a tuple in training mode"),
    (lambda net, x: {"out": net.layer(x), "aux": net.aux(x)}, "gives a dict in training mode"),
    (lambda net, x: [net.layer(x)], "gives a list in training mode"),
    (lambda net, x: torch.cat([net.layer(x), net.aux(x)], 1), "gives shape (4, 20) in training mode"),
    (lambda net, x: None, "gives a NoneType in training mode"),
    (lambda net, x: net.nothing(x), "does not take this data in training mode"),
    (lambda net, x: net.layer(x).detach(), "logits in training mode that no gradient comes from"),
]


@pytest.mark.parametrize(("training", "says"), TRAINING)
def test_another_output_in_training(inputs, training, says):
    def forward(net: Net, x: Tensor) -> object:
        return training(net, x) if net.training else net.layer(x)

    assert says in complaint(forward, inputs)
    check_network(Net(forward), SPEC, inputs, TASK, trained=False)


def count(net: Net, x: Tensor) -> Tensor:
    net.seen += 1
    return net.layer(x)


def learn(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        net.aux.bias.add_(1)
    return net.layer(x)


def alone_fails(net: Net, x: Tensor) -> Tensor:
    return net.layer(x.squeeze(0)) if len(x) == 1 else net.layer(x)


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda net, x: net.layer(x).log(), "not finite"),
        (lambda net, x: net.layer(x) / 0, "not finite"),
        (lambda net, x: net.layer(F.dropout(x, training=True)), "gives another output each time in evaluation"),
        (lambda net, x: net.layer(x) + torch.randn(1) * 1e-4, "gives another output each time in evaluation"),
        (lambda net, x: net.layer(x - x.mean(0)), "gives a sample other logits alone than in a batch"),
        (lambda net, x: net.layer(F.batch_norm(x, None, None, training=True)), "does not take this data"),
        (count, "changes its seen in evaluation mode"),
        (learn, "changes its aux.bias in evaluation mode"),
        (alone_fails, "gives shape (10,); expected logits of shape (1, 10)"),
        (lambda net, x: net.layer(x)[:2], "gives shape (2, 10); expected logits of shape (4, 10)"),
        (lambda net, x: net.layer(x).long(), "gives int64 values; logits are floating-point numbers"),
        (lambda net, x: net.layer(x).argmax(1), "gives shape (4,)"),
        (lambda net, x: net.layer(x[:, :63]), "does not take this data"),
    ],
)
@pytest.mark.parametrize("trained", [True, False])
def test_a_forward_pass_that_cannot_be_used(inputs, forward, says, trained):
    message = complaint(forward, inputs, trained)
    assert says in message and message.startswith("net.py:make ")


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.layer(x),
        lambda net, x: net.layer(x).relu(),
        lambda net, x: net.layer(x) * 0,
        lambda net, x: net.layer(F.dropout(x, training=net.training)),
        lambda net, x: F.normalize(net.layer(x)),
        lambda net, x: net.layer(F.layer_norm(x, (64,))),
    ],
)
def test_logits_of_all_kinds_pass(inputs, forward):
    check_network(Net(forward), SPEC, inputs, TASK)


@pytest.mark.parametrize("model", ["resnet8", "small_cnn"])
def test_built_in_networks_pass(inputs, model):
    check_network(build(model, (1, 8, 8), 10), SPEC, inputs, TASK)
