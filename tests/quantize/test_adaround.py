import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.errors import ModelError
from edgekd.quantize import convert, prepare
from edgekd.quantize.adaround import AdaRound, adaround
from edgekd.quantize.calibration import as_float, calibrate
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.quantize.layerwise import LayerwiseForward
from edgekd.quantize.rounding import RoundingProblem, RoundingSearch
from edgekd.quantize.sensitivity import float_layers, keep_in_float

SHAPE = (3, 8, 8)
QUICK = RoundingSearch(iterations=120, batch_size=256)


class Small(nn.Module):
    """A convolution, a depthwise and a grouped one, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped, self.head = nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.depthwise(F.relu(self.stem(x))))
        return self.head(F.max_pool2d(self.grouped(x), 2).flatten(1))


def samples() -> list[Tensor]:
    """Smooth pictures: neighbouring pixels are alike."""
    torch.manual_seed(1)
    pictures = F.avg_pool2d(torch.randn(64, 3, 12, 12), 5, 1) * 4
    return list(pictures.split(40))


def calibrated(network: nn.Module, bits: int = 4) -> GraphModule:
    graph = prepare(network.eval(), SHAPE)
    for layer in weighted_layers(graph):
        assert layer.weight_fake_quant is not None
        layer.weight_fake_quant.quant_min, layer.weight_fake_quant.quant_max = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    calibrate(graph, samples(), "minmax")
    return graph


@pytest.fixture(scope="module")
def nearest() -> GraphModule:
    torch.manual_seed(0)
    return calibrated(Small())


@pytest.fixture(scope="module")
def rounded(nearest: GraphModule) -> tuple[GraphModule, AdaRound]:
    """By all positions."""
    graph = copy.deepcopy(nearest)
    return graph, adaround(graph, samples(), QUICK, positions=64 * 64)


def output_error(graph: GraphModule, reference: GraphModule, layer: int) -> float:
    """Of one layer before its activation function."""
    name = weighted_layers(graph)[layer].node.name
    with as_float(reference):
        expected = [output.numpy().copy() for output in LayerwiseForward(reference, samples()).outputs(name)]
    found = [output.numpy().copy() for output in LayerwiseForward(graph, samples()).outputs(name)]
    return float(np.mean((np.concatenate(found) - np.concatenate(expected)) ** 2))


def test_outputs_are_closer_than_with_nearest_rounding(nearest, rounded):
    graph, report = rounded
    assert [layer.layer for layer in report.layers] == ["stem", "depthwise", "grouped", "head"]
    assert all(layer.error <= layer.nearest_error for layer in report.layers)
    assert sum(layer.turned for layer in report.layers) > 50
    last = len(report.layers) - 1
    assert output_error(graph, nearest, last) < 0.7 * output_error(nearest, nearest, last)


def test_the_reported_errors_are_those_of_the_graph(nearest, rounded):
    """For the last layer, which has no activation function."""
    graph, report = rounded
    assert report.layers[-1].error == pytest.approx(output_error(graph, nearest, 3), rel=1e-4)


def test_weights_lie_on_the_grid_and_stay_there(nearest, rounded):
    graph, report = rounded
    scales = [layer.weight_fake_quant.scale for layer in weighted_layers(nearest)]
    for layer, scale, before, entry in zip(
        weighted_layers(graph), scales, weighted_layers(nearest), report.layers, strict=True
    ):
        weight = graph.get_parameter(layer.weight_name).detach()
        steps = (weight / scale.view(-1, *[1] * (weight.ndim - 1))).numpy()
        np.testing.assert_allclose(steps, np.round(steps), rtol=0, atol=1e-4)
        assert torch.equal(layer.weight_fake_quant.scale, scale)
        with torch.no_grad():
            torch.testing.assert_close(layer.weight_fake_quant(weight), weight, rtol=1e-6, atol=0)
            old = nearest.get_parameter(before.weight_name).detach()
            turned = (before.weight_fake_quant(old) - weight).abs() > scale.view(-1, *[1] * (weight.ndim - 1)) / 2
        assert int(turned.sum()) == entry.turned


def test_a_converted_graph_has_the_same_codes(rounded):
    graph, _ = rounded
    with torch.no_grad():
        torch.testing.assert_close(convert(graph)(samples()[0]), graph(samples()[0]), rtol=1e-4, atol=1e-4)


def test_the_seed_decides(nearest):
    graphs = [copy.deepcopy(nearest) for _ in range(3)]
    for graph, seed in zip(graphs, (1, 1, 2), strict=True):
        adaround(graph, samples(), RoundingSearch(iterations=20, batch_size=16, seed=seed))
    weights = [graph.get_parameter("stem.weight") for graph in graphs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_layer_that_nearest_rounding_serves_better_keeps_it(nearest):
    """One step with a huge learning rate turns the rounding of nearly everything over."""
    rounded = copy.deepcopy(nearest)
    report = adaround(rounded, samples(), RoundingSearch(iterations=1, learning_rate=100.0))
    kept = [layer for layer in report.layers if layer.turned == 0]
    assert kept and all(layer.error == layer.nearest_error for layer in kept)
    assert all(layer.error <= layer.nearest_error for layer in report.layers)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.twice = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 4, 1)
        self.kept = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(torch.relu(self.twice(torch.relu(self.kept(torch.relu(self.up(self.stem(x))))))))


def test_layers_that_are_left_alone_say_why():
    torch.manual_seed(0)
    graph = prepare(Odd().eval(), SHAPE, keep_float=["kept"])
    calibrate(graph, samples(), "minmax")
    report = adaround(graph, samples(), RoundingSearch(iterations=5))
    assert [layer.layer for layer in report.layers] == ["stem"]
    assert report.skipped == {
        "up": "it is a transposed or three-dimensional convolution",
        "kept": "it stays in float",
        "twice": "its weight is used 2 times",
    }


def test_a_layer_left_in_float_stays_there(nearest):
    graph = copy.deepcopy(nearest)
    keep_in_float(graph, "grouped")
    before = graph.get_parameter("grouped.weight").clone()
    report = adaround(graph, samples(), RoundingSearch(iterations=5))
    assert report.skipped == {"grouped": "it stays in float"}
    assert torch.equal(graph.get_parameter("grouped.weight"), before)
    assert float_layers(graph) == ["grouped"]


def test_mistakes(nearest):
    with pytest.raises(ModelError, match="the range of .* was never set; calibrate the graph first"):
        adaround(prepare(Small(), SHAPE), samples())
    with pytest.raises(ModelError, match="no calibration data: give at least one batch of inputs"):
        adaround(copy.deepcopy(nearest), [])
    with pytest.raises(ModelError, match="needs positions to fit layers to: at least 1, got 0"):
        adaround(copy.deepcopy(nearest), samples(), positions=0)


def test_inside_no_grad(nearest):
    graphs = [copy.deepcopy(nearest) for _ in range(2)]
    adaround(graphs[0], samples(), RoundingSearch(iterations=10))
    with torch.no_grad():
        adaround(graphs[1], samples(), RoundingSearch(iterations=10))
    assert torch.equal(*(graph.get_parameter("stem.weight") for graph in graphs))


class Windows(nn.Module):
    """A layer on each of four parts of a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = nn.Linear(48, 8), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.part(x.reshape(-1, 48))).reshape(-1, 32))


def test_as_many_positions_as_asked_for_also_of_windows(monkeypatch):
    torch.manual_seed(0)
    graph = prepare(Windows().eval(), SHAPE)
    calibrate(graph, samples())
    seen = []

    def learned(problem: RoundingProblem, search: RoundingSearch) -> Tensor:
        seen.append(problem.columns.shape[1])
        return problem.nearest()

    monkeypatch.setattr("edgekd.quantize.adaround.learn_rounding", learned)
    adaround(graph, samples(), positions=48)
    # 40 and 24 samples: 30 and 18 positions.
    assert seen == [48, 48]
