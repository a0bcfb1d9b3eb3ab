import copy

import numpy as np
import torch
from torch.fx import GraphModule

from edgekd.quantize import calibrate, prepare, round_biases
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.quantize.sensitivity import keep_in_float
from tests.quantize.conftest import SHAPE, Residual


def quantised() -> GraphModule:
    torch.manual_seed(0)
    network = Residual().eval()
    graph = prepare(network, SHAPE)
    calibrate(graph, [torch.randn(16, *SHAPE)])
    return graph


def test_biases_are_whole_steps_of_input_and_weight():
    graph = quantised()
    before = {layer.layer: graph.get_parameter(layer.bias_name).clone() for layer in weighted_layers(graph)}
    assert round_biases(graph) == ["stem", "one", "two", "head"]
    for layer in weighted_layers(graph):
        bias = graph.get_parameter(layer.bias_name).detach().double().numpy()
        step = layer.input_fake_quant.scale.double().numpy() * layer.weight_fake_quant.scale.double().numpy()
        codes = bias / step
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
        assert (np.abs(bias - before[layer.layer].detach().double().numpy()) <= 0.5 * step * (1 + 1e-6)).all()


def test_a_second_time_changes_nothing():
    graph = quantised()
    round_biases(graph)
    once = copy.deepcopy(graph.state_dict())
    round_biases(graph)
    assert all(torch.equal(once[name], value) for name, value in graph.state_dict().items())


def test_layers_in_float_and_shared_biases_are_left_alone():
    graph = quantised()
    keep_in_float(graph, "two")
    before = graph.get_parameter(next(each.bias_name for each in weighted_layers(graph) if each.layer == "two")).clone()
    assert "two" not in round_biases(graph)
    assert torch.equal(
        before, graph.get_parameter(next(e.bias_name for e in weighted_layers(graph) if e.layer == "two"))
    )
