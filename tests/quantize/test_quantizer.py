import numpy as np
import pytest
import torch
from torch import nn

from edgekd.export import float_convolutions

CONVOLUTIONS = ["residual", "dense", "bottleneck"]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_convolution_runs_in_int8(quantised, name):
    made = quantised(name)
    expected = sum(isinstance(module, nn.Conv2d) for module in made.network.modules())
    assert float_convolutions(made.path) == ([], expected)


@pytest.mark.parametrize("name", [*CONVOLUTIONS, "mlp"])
def test_the_runtime_answers_as_the_fake_quantised_graph(quantised, name):
    made = quantised(name)
    with torch.no_grad():
        fake, converted = made.graph(made.inputs).numpy(), made.converted(made.inputs).numpy()
        exact = made.network(made.inputs).numpy()
    np.testing.assert_allclose(converted, fake, atol=1e-5)
    spread = max(exact.std(), 1e-3)
    assert np.abs(made.runtime() - fake).max() < 0.05 * spread
    assert np.abs(fake - exact).max() < 0.5 * spread


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_what_follows_a_relu_has_its_zero_point_at_zero(quantised, name):
    made = quantised(name)
    graph, weights = made.model.graph, made.weights
    relus = {node.output[0] for node in graph.node if node.op_type in ("Relu", "Clip")}
    steps = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in relus]
    assert len(relus) == len(steps) >= 2
    for step in steps:
        assert weights[step.input[2]] == 0
        assert weights[step.input[2]].dtype == np.uint8


def test_a_relu6_is_no_wider_than_six(quantised):
    """One of 255 steps of a range inside 0..6."""
    made = quantised("bottleneck")
    graph, weights = made.model.graph, made.weights
    clips = {node.output[0] for node in graph.node if node.op_type == "Clip"}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in clips:
            assert 0 < weights[node.input[1]] <= 6 / 255 * 1.0001


def test_the_logits_stay_in_float(quantised):
    for name in ("residual", "mlp"):
        graph = quantised(name).model.graph
        [producer] = [node for node in graph.node if graph.output[0].name in node.output]
        assert producer.op_type == "Gemm"


def test_pooling_keeps_the_scale_and_each_input_of_a_concatenation_its_own(quantised):
    """Input and output of a pooling share a scale, or ONNX Runtime would compute it in float."""
    for name, kind, count in (("dense", "Concat", 3), ("residual", "MaxPool", 1)):
        graph = quantised(name).model.graph
        dequantised = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
        quantised_by = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"}
        weights = quantised(name).weights
        nodes = [node for node in graph.node if node.op_type == kind]
        assert nodes
        scales = [[*map(dequantised.get, node.input), quantised_by[node.output[0]]] for node in nodes]
        # The output's range is that of its widest input.
        assert max(len({float(weights[scale]) for scale in each}) for each in scales) in (count - 1, count)


def test_a_layer_whose_outputs_are_averaged_into_logits_runs_in_int8(quantised):
    """As SqueezeNet's last convolution; the logits themselves are not rounded."""
    made = quantised("averaged")
    assert float_convolutions(made.path) == ([], 2)
    [producer] = [node for node in made.model.graph.node if made.model.graph.output[0].name in node.output]
    assert producer.op_type in ("Reshape", "Flatten")
