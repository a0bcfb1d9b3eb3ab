"""A prepared graph computes the network: BatchNorm is folded where that changes nothing, and else stays by itself."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from edgekd.export import deploy, parity
from edgekd.quantize import calibrate, prepare, round_biases
from edgekd.quantize.adaround import adaround
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.calibration import as_float
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.quantize.qdq import to_qdq
from edgekd.quantize.rounding import RoundingSearch
from tests.deploy.networks import IMAGE
from tests.deploy.traced import PREPROCESS, run


class Heads(nn.Module):
    """A convolution that two levels share, each with a BatchNorm of its own, as in detectors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fine, self.coarse, self.head = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        fine = torch.relu(self.fine(self.shared(x)))
        coarse = torch.relu(self.coarse(self.shared(F.max_pool2d(x, 2))))
        return self.head(fine.mean((2, 3)) + coarse.mean((2, 3)))


class Twice(nn.Module):
    """A block without a bias that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(torch.relu(self.stem(x)))).mean((2, 3)))


class TwiceLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(192, 8), nn.Linear(8, 4)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(self.stem(x.flatten(1)))))


class Alike(nn.Module):
    """Two convolutions with one weight, which one of them hands to a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.other = (nn.Conv2d(width, 8, 3, padding=1) for width in (3, 8, 8))
        self.other.weight = self.one.weight
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head((torch.relu(self.norm(self.one(x))) + torch.relu(self.other(x))).mean((2, 3)))


class Blurred(nn.Module):
    """A fixed filter that is no parameter, as of anti-aliased poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 4)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row).expand(8, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(torch.relu(self.stem(x)), self.kernel, stride=2, padding=1, groups=8)
        return self.head(torch.relu(self.norm(x)).mean((2, 3)))


def upsampling(groups: int) -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, stride=2, groups=groups), nn.BatchNorm2d(8)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def weight_normed() -> nn.Module:
    layers = [parametrizations.weight_norm(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


# With how many BatchNorms stay.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "heads": (Heads, 2),
    "twice": (Twice, 2),
    "twice_linear": (TwiceLinear, 2),
    "alike": (Alike, 1),
    "blurred": (Blurred, 1),
    "up": (lambda: upsampling(1), 0),
    "up_in_groups": (lambda: upsampling(2), 1),
    "up_depthwise": (lambda: upsampling(8), 1),
    "weight_norm": (weight_normed, 0),
}


def made(name: str) -> nn.Module:
    """With statistics of batches, and other scales than 1."""
    torch.manual_seed(0)
    network = NETWORKS[name][0]()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
    for _ in range(20):
        network(2 * torch.randn(16, *IMAGE) + 1)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_computes_the_network(name):
    network, x = made(name), 2 * torch.randn(8, *IMAGE) + 1
    graph = prepare(network, IMAGE)
    with torch.no_grad(), as_float(graph):
        torch.testing.assert_close(graph(x), network(x), rtol=1e-4, atol=1e-5)
    norms = graph.graph.find_nodes(op="call_function", target=torch.ops.aten.batch_norm.default)
    assert len(norms) == NETWORKS[name][1]


@pytest.mark.parametrize("name", ["heads", "twice", "blurred", "up_depthwise"])
def test_a_runtime_computes_the_graph(name):
    network, x = made(name), 2 * torch.randn(16, *IMAGE) + 1
    graph = prepare(network, IMAGE)
    calibrate(graph, [x])
    correct_biases(graph, [x])
    round_biases(graph)
    answers, _ = run(deploy(to_qdq(graph, PREPROCESS), "onnxruntime-x86"), x)
    with torch.no_grad():
        expected = graph(x)
    same = parity(expected, torch.from_numpy(answers))
    assert same.mean_steps < 1 and same.max_steps < 6
    assert parity(network(x).detach(), expected).mean_steps < 12


class Scaled(nn.Conv2d):
    """Its bias is computed in every pass."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, 0.5 * self.bias)


class Shifted(nn.Linear):
    """Its bias is fixed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.register_buffer("shift", torch.randn(outputs))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.shift)


def test_biases_that_are_no_parameters_are_left_alone():
    torch.manual_seed(0)
    layers = [Scaled(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Shifted(8, 4)]
    network, x = nn.Sequential(*layers).eval(), torch.randn(16, *IMAGE)
    graph = prepare(network, IMAGE)
    calibrate(graph, [x])
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    why = "its bias is no weight of its own"
    assert correct_biases(graph, [x]).skipped == {"0": why, "4": why}
    assert round_biases(graph) == []
    assert adaround(graph, [x], RoundingSearch(iterations=2)).skipped == {"0": why, "4": why}
    assert all(torch.equal(before[name], value) for name, value in graph.state_dict().items())
    assert [layer.layer for layer in weighted_layers(graph)] == ["0", "4"]
    answers, _ = run(deploy(to_qdq(graph, PREPROCESS), "onnxruntime-x86"), x)
    with torch.no_grad():
        assert parity(graph(x), torch.from_numpy(answers)).mean_steps < 1
