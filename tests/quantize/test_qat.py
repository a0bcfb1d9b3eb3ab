import copy

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e import FakeQuantizeBase, disable_fake_quant, disable_observer

from edgekd.artifact import tensors_of
from edgekd.errors import ModelError
from edgekd.export import parity
from edgekd.models import build
from edgekd.quantize import calibrate, convert, freeze_ranges, observe, prepare
from edgekd.recipe import Train
from edgekd.train import CrossEntropy, FitOptions, fit, logits_of, metric_of

SHAPE = (1, 8, 8)


def small() -> nn.Module:
    torch.manual_seed(0)
    network = build("small_cnn", SHAPE, 4, width=4)
    network(torch.randn(32, *SHAPE))
    return network


def ranges(graph: GraphModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in graph.named_buffers() if name.endswith(("min_val", "max_val"))}


def observer_of_the_input(graph: GraphModule) -> FakeQuantizeBase:
    [placeholder] = graph.graph.find_nodes(op="placeholder")
    [user] = [user for user in placeholder.users if str(user.target).startswith("activation_post_process")]
    module = graph.get_submodule(user.target)
    assert isinstance(module, FakeQuantizeBase)
    return module


def test_before_fake_quantisation_it_computes_what_the_network_does():
    network = small()
    graph = prepare(network, SHAPE)
    graph.apply(disable_fake_quant)
    graph.apply(disable_observer)
    x = torch.randn(5, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(graph(x), network.eval()(x), rtol=1e-4, atol=1e-5)


def test_the_network_itself_is_left_alone():
    network = small()
    before = copy.deepcopy(network.state_dict())
    prepare(network, SHAPE)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_ranges_are_moving_averages():
    """Each batch moves a range by a twentieth of the way to its own smallest and largest value."""
    graph = prepare(small(), SHAPE)
    batches = [torch.randn(8, *SHAPE) * size + size for size in (1.0, 3.0, 0.5)]
    observe(graph)
    for batch in batches:
        graph(batch)
    low, high = (float(extreme) for extreme in batches[0].aminmax())
    for batch in batches[1:]:
        low += 0.05 * (float(batch.min()) - low)
        high += 0.05 * (float(batch.max()) - high)
    module = observer_of_the_input(graph)
    assert float(module.min_val) == pytest.approx(low, rel=1e-5)
    assert float(module.max_val) == pytest.approx(high, rel=1e-5)
    scale, zero_point = module.calculate_qparams()
    assert float(scale) == pytest.approx((high - low) / 255, rel=1e-5)
    assert int(zero_point) == round(-low / ((high - low) / 255))


def test_calibration_sees_the_float_network():
    """Of a later layer too: with coarse ranges of the first, quantised inputs would shift it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    graph = prepare(network, SHAPE)
    x = torch.randn(64, *SHAPE)
    calibrate(graph, [x])
    with torch.no_grad():
        expected = float(network[:5](x).max())
    highs = [float(value) for name, value in ranges(graph).items() if name.endswith("max_val") and value.numel() == 1]
    assert any(high == pytest.approx(expected, rel=1e-5) for high in highs)


def test_ranges_follow_the_data_or_are_held():
    graph = prepare(small(), SHAPE)
    calibrate(graph, [torch.randn(8, *SHAPE)])
    for act, moves in ((freeze_ranges, False), (observe, True)):
        before = ranges(graph)
        act(graph)
        graph(torch.randn(8, *SHAPE) * 5)
        after = ranges(graph)
        assert any(not torch.equal(before[name], after[name]) for name in before) is moves


def test_convert_leaves_the_graph_alone():
    graph = prepare(small(), SHAPE)
    x = torch.randn(8, *SHAPE)
    calibrate(graph, [x])
    before = {name: value.clone() for name, value in tensors_of(graph).items()}
    with torch.no_grad():
        logits = graph(x)
        converted = convert(graph)
        assert torch.equal(graph(x), logits)
        torch.testing.assert_close(converted(x), logits, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in tensors_of(graph).items())
    assert any(isinstance(module, FakeQuantizeBase) for module in graph.modules())
    assert not any(isinstance(module, FakeQuantizeBase) for module in converted.modules())


def test_gradients_pass_through():
    graph = prepare(small(), SHAPE)
    x = torch.randn(8, *SHAPE)
    calibrate(graph, [x])
    graph(x).square().mean().backward()
    weights = [p for p in graph.parameters() if p.ndim > 1]
    assert len(weights) == 4
    for weight in weights:
        assert weight.grad is not None and torch.isfinite(weight.grad).all()
        assert float(weight.grad.abs().sum()) > 0


def test_every_parameter_trains():
    graph = prepare(small(), SHAPE)
    assert all(parameter.requires_grad for parameter in graph.parameters())


def test_a_quantised_network_reads_digits_as_well(digits, trained):
    graph = prepare(trained, SHAPE)
    calibrate(graph, [digits.to_input(digits.train.raw[:256])])
    fit(
        graph,
        digits,
        Train(epochs=1, lr=0.001),
        CrossEntropy(),
        FitOptions(float32=True, to_train=observe, to_eval=freeze_ranges),
    )
    assert metric_of(graph, digits, digits.test) > metric_of(trained, digits, digits.test) - 0.02
    same = parity(logits_of(convert(graph), digits, digits.test), logits_of(graph, digits, digits.test))
    assert same.agreement == 1.0


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


def test_a_network_that_cannot_be_exported(capfd):
    with pytest.raises(ModelError) as error:
        prepare(Branching(), (4,))
    message = str(error.value)
    assert message.startswith("Branching cannot be exported for quantisation: Could not guard on data-dependent")
    assert message.endswith("; avoid branches on the input's values and Python numbers taken from tensors")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_network_without_layers_to_quantise():
    with pytest.raises(ModelError) as error:
        prepare(nn.Flatten(), SHAPE)
    assert str(error.value) == "Flatten has no convolution or linear layer to quantise"


def test_what_is_frozen_stays_frozen():
    """With the bias that BatchNorm becomes; a network that is frozen as a whole, such as a teacher, is trained."""
    network = small()
    network[0].requires_grad_(False)
    graph = prepare(network, SHAPE)
    assert [name for name, each in graph.named_parameters() if not each.requires_grad] == ["0.weight", "0.weight_bias"]
    graph = prepare(network.requires_grad_(False), SHAPE)
    assert all(parameter.requires_grad for parameter in graph.parameters())
    assert not any(parameter.requires_grad for parameter in network.parameters())
