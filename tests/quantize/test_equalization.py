import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.models import build
from edgekd.quantize import prepare
from edgekd.quantize.calibration import as_float
from edgekd.quantize.equalization import equalize

SHAPE = (3, 8, 8)


def unequal(network: nn.Module) -> nn.Module:
    """Channels of very different ranges, without changing much of what the network gives."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(torch.rand(len(parameter), *[1] * (parameter.ndim - 1)) * 3 + 0.05)
    return network.eval()


def float_outputs(graph: torch.fx.GraphModule) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad(), as_float(graph):
        return graph(torch.randn(6, *SHAPE))


def weights(graph: torch.fx.GraphModule) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in graph.named_parameters()}


def test_a_pair_has_equal_ranges():
    """sqrt(r1·r2) in both, which is what eq. 11 leads to."""
    graph = prepare(unequal(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3))), SHAPE)
    before, outputs = weights(graph), float_outputs(graph)
    report = equalize(graph)
    after = weights(graph)
    r1, r2 = np.abs(before["0.weight"]).max((1, 2, 3)), np.abs(before["2.weight"]).max((0, 2, 3))
    np.testing.assert_allclose(np.abs(after["0.weight"]).max((1, 2, 3)), np.sqrt(r1 * r2), rtol=1e-5)
    np.testing.assert_allclose(np.abs(after["2.weight"]).max((0, 2, 3)), np.sqrt(r1 * r2), rtol=1e-5)
    s = np.sqrt(r1 * r2) / r2
    np.testing.assert_allclose(after["0.bias"], before["0.bias"] / s, rtol=1e-5)
    np.testing.assert_array_equal(after["2.bias"], before["2.bias"])
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)
    assert (report.pairs, report.skipped) == ((("0", "2"),), {})


def test_a_depthwise_convolution_and_its_neighbours():
    layers = [nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1)]
    graph = prepare(unequal(nn.Sequential(*layers)), SHAPE)
    before, outputs = weights(graph), float_outputs(graph)
    report = equalize(graph)
    after = weights(graph)
    axes = {"0.weight": (1, 2, 3), "2.weight": (1, 2, 3), "4.weight": (0, 2, 3)}
    expected = np.prod([np.abs(before[name]).max(axis) for name, axis in axes.items()], axis=0) ** (1 / 3)
    for name, axis in axes.items():
        np.testing.assert_allclose(np.abs(after[name]).max(axis), expected, rtol=3e-4)
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)
    assert report.pairs == (("0", "2"), ("2", "4"))


def test_groups_poolings_and_one_dimension():
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3, groups=2)]
    graph = prepare(unequal(nn.Sequential(*layers)), SHAPE)
    outputs = float_outputs(graph)
    equalize(graph)
    after = weights(graph)
    read = np.abs(after["3.weight"]).reshape(2, 3, 4, 9).max((1, 3)).reshape(8)
    np.testing.assert_allclose(np.abs(after["0.weight"]).max((1, 2, 3)), read, rtol=1e-5)
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)


def test_linear_layers():
    graph = prepare(unequal(build("mlp", SHAPE, 4, hidden=(16, 12))), SHAPE)
    outputs = float_outputs(graph)
    assert len(equalize(graph).pairs) == 2
    after = [value for name, value in weights(graph).items() if name.endswith("weight")]
    np.testing.assert_allclose(np.abs(after[1]).max(1), np.abs(after[2]).max(0), rtol=3e-4)
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)


def test_a_resnets_blocks():
    """Within a block the first convolution is read by the second alone; what a sum reads is left as it is."""
    network = build("resnet8", SHAPE, 10, width=4)
    torch.manual_seed(0)
    network(torch.randn(16, *SHAPE))
    graph = prepare(unequal(network), SHAPE)
    outputs = float_outputs(graph)
    report = equalize(graph)
    assert report.pairs == tuple((f"layer{i}.conv1", f"layer{i}.conv2") for i in (1, 2, 3))
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)


def test_a_channel_without_weights_stays():
    network = unequal(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    with torch.no_grad():
        network[0].weight[1] = 0
        network[2].weight[:, 2] = 0
    graph = prepare(network, SHAPE)
    before, outputs = weights(graph), float_outputs(graph)
    equalize(graph)
    after = weights(graph)
    for name in before:
        assert np.isfinite(after[name]).all()
    np.testing.assert_array_equal(after["2.weight"][:, 1], before["2.weight"][:, 1])
    np.testing.assert_array_equal(after["0.weight"][2], before["0.weight"][2])
    torch.testing.assert_close(float_outputs(graph), outputs, rtol=1e-5, atol=1e-5)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(torch.relu(self.twice(torch.relu(self.stem(x)))))


@pytest.mark.parametrize(
    "network, pair, reason",
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1)), ("0", "2"), "cuts off at fixed values"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 1)), ("0", "1"), "1 is a transposed convolution"),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.Linear(6, 4)), ("0", "1"), "1 reads along another axis than that of the"),
        (nn.Sequential(nn.Linear(8, 6), nn.Conv2d(3, 4, 1)), ("0", "1"), "1 reads along another axis than that of the"),
        (nn.Sequential(nn.Linear(8, 8), nn.AvgPool2d(2), nn.Linear(4, 4)), ("0", "2"), "2 reads along another axis"),
        (Shared(), ("stem", "twice"), "twice shares its weight or bias with another layer"),
    ],
)
def test_pairs_that_are_left_alone_say_why(network, pair, reason):
    graph = prepare(unequal(network), SHAPE)
    before = weights(graph)
    report = equalize(graph)
    assert report.pairs == ()
    assert reason in report.skipped[pair]
    after = weights(graph)
    assert all((after[name] == before[name]).all() for name in before)
