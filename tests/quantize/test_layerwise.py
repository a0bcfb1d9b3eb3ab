import copy

import pytest
import torch
from torch import Tensor

from edgekd.models import build
from edgekd.quantize import prepare
from edgekd.quantize.calibration import as_float, calibrate
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.quantize.layerwise import LayerwiseForward

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(4, *SHAPE), torch.randn(2, *SHAPE)]


@pytest.fixture(scope="module")
def calibrated(batches: list[Tensor]) -> torch.fx.GraphModule:
    torch.manual_seed(0)
    graph = prepare(build("resnet8", SHAPE, 10, width=4).eval(), SHAPE)
    calibrate(graph, batches, "minmax")
    return graph


@pytest.fixture
def graph(calibrated: torch.fx.GraphModule) -> torch.fx.GraphModule:
    return copy.deepcopy(calibrated)


@pytest.mark.parametrize("keep", [True, False])
def test_the_last_layer_gives_the_networks_outputs(graph, batches, keep):
    forward = LayerwiseForward(graph, batches)
    for layer in weighted_layers(graph):
        outputs = list(forward.outputs(layer.node.name, keep))
    with torch.no_grad():
        assert all(torch.equal(output, graph(x)) for output, x in zip(outputs, batches, strict=True))


def test_the_first_layer_reads_the_quantised_input(graph, batches):
    first = weighted_layers(graph)[0]
    [one, two] = LayerwiseForward(graph, batches).inputs(first.node.name)
    assert first.input_fake_quant is not None
    assert torch.equal(one, first.input_fake_quant(batches[0]))
    assert torch.equal(two, first.input_fake_quant(batches[1]))


def test_a_change_to_a_layer_counts_until_it_is_passed(graph, batches):
    layers = weighted_layers(graph)
    forward = LayerwiseForward(graph, batches)
    before = next(forward.outputs(layers[2].node.name))
    with torch.no_grad():
        graph.get_parameter(layers[2].weight_name).mul_(-1)
    assert not torch.equal(next(forward.outputs(layers[2].node.name)), before)
    outputs = list(forward.outputs(layers[-1].node.name))
    with torch.no_grad():
        assert torch.equal(outputs[1], graph(batches[1]))


def test_what_no_later_node_reads_is_forgotten(graph, batches):
    """At the last layer only its input is left."""
    forward = LayerwiseForward(graph, batches)
    list(forward.inputs(weighted_layers(graph)[-1].node.name))
    assert [sum(isinstance(value, Tensor) for value in run.env.values()) for run in forward._runs] == [1, 1]


def test_without_quantisation_it_is_the_float_network(graph, batches):
    with as_float(graph):
        outputs = list(LayerwiseForward(graph, batches).outputs(weighted_layers(graph)[-1].node.name))
        with torch.no_grad():
            assert torch.equal(outputs[0], graph(batches[0]))
