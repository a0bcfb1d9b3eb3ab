import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.quantize import prepare
from edgekd.quantize.calibration import as_float, calibrate, collect, freeze_calibrated
from edgekd.quantize.fake_quant import FakeQuantize, fake_quant_of, fake_quants, weighted_layers
from edgekd.quantize.registry import CALIBRATIONS

SHAPE = (3, 8, 8)


class Small(nn.Module):
    """A ReLU, a pooling that shares its range, and a layer of which every output is the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.constant, self.dead = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.constant.weight.zero_()
            self.constant.bias.fill_(3)
            self.dead.bias.fill_(-1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
        x = self.body(x)
        return self.head((x + torch.relu(self.dead(self.constant(x)))).mean((2, 3)))


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(8, *SHAPE), torch.randn(5, *SHAPE) * 2]


def input_of(graph: torch.fx.GraphModule, layer: str) -> FakeQuantize:
    [place] = [found.input_fake_quant for found in weighted_layers(graph) if found.layer == layer]
    assert place is not None
    return place


def name_of(graph: torch.fx.GraphModule, place: FakeQuantize) -> str:
    return next(name for name, module in fake_quants(graph).items() if module is place)


def test_histograms_are_of_the_float_network(network, batches):
    graph = prepare(network, SHAPE)
    histograms = collect(graph, batches)
    with torch.no_grad():
        read = torch.cat([network.stem(x).relu() for x in batches])
        given = torch.cat([network.body(nn.functional.max_pool2d(network.stem(x).relu(), 2)) for x in batches])
    found = histograms[name_of(graph, input_of(graph, "constant"))]
    assert found.total == given.numel()
    assert (found.low, found.high) == pytest.approx((float(given.min()), float(given.max())), rel=1e-5)
    shared = histograms[name_of(graph, input_of(graph, "body"))]
    assert shared.high == pytest.approx(float(read.max()), rel=1e-5)
    assert shared.total == read.numel() + read.numel() // 4  # before and after the pooling


def test_weights_are_left_out(network, batches):
    graph = prepare(network, SHAPE)
    assert len(collect(graph, batches)) == len(fake_quants(graph)) - len(weighted_layers(graph))


def test_collecting_changes_nothing(network, batches):
    graph = prepare(network, SHAPE)
    calibrate(graph, batches, "minmax")
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    collect(graph, [batches[0] * 100])
    after = graph.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module._forward_pre_hooks for module in graph.modules())


@pytest.mark.parametrize("method", sorted(CALIBRATIONS))
def test_every_method_gives_ranges_that_work(network, batches, method):
    graph = prepare(network, SHAPE)
    calibrate(graph, batches, method)
    for module in fake_quants(graph).values():
        assert (module.scale > 0).all() and torch.isfinite(module.scale).all()
    after_relu = input_of(graph, "body")
    assert float(after_relu.min_val) == 0.0
    assert int(after_relu.zero_point) == 0
    constant = input_of(graph, "dead")
    [relu] = next(layer.node for layer in weighted_layers(graph) if layer.layer == "dead").users
    zeros = fake_quant_of(graph, next(iter(relu.users)))
    assert zeros is not None
    with torch.no_grad():
        assert float(constant.quantised(torch.tensor([3.0]))) == pytest.approx(3.0, rel=1e-6)
        assert float(zeros.scale) > 0 and float(zeros.quantised(torch.zeros(1))) == 0.0
        assert torch.isfinite(graph(batches[0])).all()


def test_minmax_ranges_are_numpys(network, batches):
    graph = prepare(network, SHAPE)
    calibrate(graph, batches, "minmax")
    x = np.concatenate(batches)
    place = input_of(graph, "stem")
    scale = (x.max() - x.min()) / 255
    assert float(place.scale) == pytest.approx(scale, rel=1e-6)
    assert int(place.zero_point) == round(-x.min() / scale)


def test_options_reach_the_method(network, batches):
    graph = prepare(network, SHAPE)
    calibrate(graph, batches, "percentile", percentage=90)
    x = np.concatenate(batches)
    place = input_of(graph, "stem")
    assert (float(place.min_val), float(place.max_val)) == pytest.approx(tuple(np.percentile(x, [5, 95])), abs=0.01)


def test_weights_get_the_range_of_each_channel(network, batches):
    graph = prepare(network, SHAPE, "onnxruntime-x86-vnni")
    calibrate(graph, batches)
    [stem] = [layer for layer in weighted_layers(graph) if layer.layer == "stem"]
    assert stem.weight_fake_quant is not None
    steps = (stem.weight_fake_quant.quant_max - stem.weight_fake_quant.quant_min) / 2
    expected = network.stem.weight.detach().numpy().__abs__().max((1, 2, 3)) / steps
    np.testing.assert_allclose(stem.weight_fake_quant.scale.numpy(), expected, rtol=1e-6)


def test_the_graph_quantises_afterwards_and_holds_its_ranges(network, batches):
    graph = prepare(network, SHAPE)
    calibrate(graph, batches)
    before = {name: module.scale.clone() for name, module in fake_quants(graph).items()}
    with torch.no_grad():
        quantised = graph(batches[0] * 50)
        with as_float(graph):
            assert not torch.equal(graph(batches[0] * 50), quantised)
        assert torch.equal(graph(batches[0] * 50), quantised)
    assert all(torch.equal(module.scale, before[name]) for name, module in fake_quants(graph).items())


@pytest.mark.parametrize("value, what", [(torch.nan, "NaN"), (torch.inf, "infinite")])
def test_values_that_are_not_finite_name_their_layer(network, batches, value, what):
    graph = prepare(network, SHAPE)
    with torch.no_grad():
        graph.get_parameter("body.bias")[1] = value
    with pytest.raises(ModelError) as error:
        collect(graph, batches)
    assert str(error.value).startswith(f"the output of layer 'body' (conv2d_1) has 72 {what} among 288 values; ")
    with pytest.raises(ModelError, match=f"the network's input has 1536 {what} among 1536 values"):
        collect(graph, [torch.full((8, *SHAPE), value)])


def test_batches_that_do_not_fit(network):
    graph = prepare(network, SHAPE)
    with pytest.raises(ModelError, match=r"data of shape \(2, 3, 9, 9\): the network takes \(N, 3, 8, 8\)"):
        collect(graph, [torch.zeros(2, 3, 9, 9)])
    for nothing in ([], [torch.zeros(0, *SHAPE)]):
        with pytest.raises(ModelError, match="no calibration data: give at least one batch of inputs"):
            collect(graph, nothing)


def test_an_unknown_method(network, batches):
    graph = prepare(network, SHAPE)
    with pytest.raises(ModelError, match=r"unknown calibration method 'entropie' \(did you mean 'entropy'\?\)"):
        calibrate(graph, batches, "entropie")


def test_a_graph_that_was_not_calibrated(network):
    with pytest.raises(ModelError, match="the range of .* was never set; calibrate the graph first"):
        freeze_calibrated(prepare(network, SHAPE))


def test_an_option_that_the_method_does_not_have(network, batches):
    graph = prepare(network, SHAPE)
    with pytest.raises(ModelError) as error:
        calibrate(graph, batches, "percentile", percentile=99)
    assert str(error.value) == (
        "the calibration method 'percentile' has no option 'percentile' (did you mean 'percentage'?); "
        "it has: percentage"
    )
    with pytest.raises(ModelError, match="'minmax' has no option 'percentage'; it has: none"):
        calibrate(graph, batches, "minmax", percentage=99)
