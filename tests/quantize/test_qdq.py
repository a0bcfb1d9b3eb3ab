import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.export import deploy
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.fake_quant import fake_quant_of, fake_quants, weighted_layers
from edgekd.quantize.qdq import MARKER, to_qdq
from tests.deploy.networks import IMAGE, NETWORKS
from tests.deploy.traced import PREPROCESS, constants, count, run, traced


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_for_every_place(name):
    """Those of activations, one for each use in the graph, and those of weights."""
    made = traced(name)
    uses = [fake_quant_of(made.graph, node) for node in made.graph.graph.nodes]
    places = [module for module in uses if module is not None]
    assert count(made.model)["QuantizeLinear"] == count(made.model)["DequantizeLinear"] == len(places)
    assert sum(module.is_per_channel for module in places) == len(weighted_layers(made.graph))


@pytest.mark.parametrize("name", ["residual", "mobilenetv3", "tokens"])
def test_it_computes_what_the_graph_does(name):
    made = traced(name)
    answers, _ = run(made.model, made.inputs, optimised=False)
    steps = np.abs(answers - made.answers()) / np.ptp(made.answers()) * 255
    assert steps.mean() < 0.2


@pytest.mark.parametrize("name", NETWORKS)
def test_no_mark_is_left(name):
    for values in constants(traced(name).model).values():
        assert np.abs(values.astype(np.float64)).max(initial=0) < MARKER


def test_scales_are_the_graphs_own():
    made = traced("residual")
    ours = sorted(float(module.scale) for module in fake_quants(made.graph).values() if not module.is_per_channel)
    stored = constants(made.model)
    steps = [node for node in made.model.graph.node if node.op_type == "QuantizeLinear"]
    written = {node.input[1]: float(stored[node.input[1]]) for node in steps if stored[node.input[1]].ndim == 0}
    assert set(written.values()) == set(ours)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


class Foreign(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.from_numpy(x.numpy() + 1))


@pytest.mark.parametrize("make", [Branching, Foreign])
def test_a_network_that_cannot_be_traced(make):
    with pytest.raises(ModelError, match=f"{make.__name__} cannot be exported for quantisation: ") as error:
        prepare(make(), IMAGE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number(value):
    network = NETWORKS["residual"]()
    with torch.no_grad():
        network.two[0].weight[0, 0, 0, 0] = value
    with pytest.raises(ModelError, match=r"the weight 'two\.0\.weight' holds values that are not finite"):
        prepare(network, IMAGE)


def test_calibration_data_that_does_not_fit():
    graph = prepare(NETWORKS["swish"](), IMAGE)
    for batches, message in (
        ([torch.zeros(4, 1, 8, 8)], r"calibration data of shape \(4, 1, 8, 8\): the network takes \(N, 3, 8, 8\)"),
        ([torch.zeros(4, *IMAGE).double()], r"calibration data of shape \(4, 3, 8, 8\) of float64: the network takes"),
        ([torch.full((4, *IMAGE), torch.nan)], "the network's input has 768 NaN among 768 values"),
        ([], "no calibration data: give at least one batch of inputs"),
    ):
        with pytest.raises(ModelError, match=message):
            calibrate(graph, batches)


def test_a_batch_of_one_trains():
    """BatchNorm is folded, so that nothing needs a second sample."""
    graph = prepare(NETWORKS["residual"](), IMAGE)
    x = torch.randn(1, *IMAGE)
    calibrate(graph, [x])
    graph(x).sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in graph.parameters() if value.grad is not None)


def test_a_dead_activation_is_a_range_of_nothing():
    """Scales stay above zero, and the file answers as the graph."""
    torch.manual_seed(0)
    network = NETWORKS["swish"]().eval()
    with torch.no_grad():
        network.one[1].weight.zero_()
        network.one[1].bias.zero_()
    graph = prepare(network, IMAGE, "portable")
    inputs = torch.randn(8, *IMAGE)
    calibrate(graph, [inputs])
    assert all((module.scale > 0).all() for module in fake_quants(graph).values())
    exported = to_qdq(graph, PREPROCESS)
    with torch.no_grad():
        expected = graph(inputs).numpy()
    for target in ("onnxruntime-x86", "tensorrt"):
        answers, _ = run(deploy(exported, target), inputs, optimised=target != "tensorrt")
        np.testing.assert_allclose(answers, expected, atol=2e-3)
