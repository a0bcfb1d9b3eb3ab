import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.quantize import prepare
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.calibration import as_float, calibrate
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.quantize.layerwise import LayerwiseForward

SHAPE = (3, 8, 8)


def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.rand(8, *SHAPE), torch.rand(5, *SHAPE) * 2]


def calibrated(network: nn.Module, codes: int = 127) -> torch.fx.GraphModule:
    """With weights of ``codes`` on either side of zero."""
    graph = prepare(network.eval(), SHAPE)
    for layer in weighted_layers(graph):
        assert layer.weight_fake_quant is not None
        layer.weight_fake_quant.quant_min, layer.weight_fake_quant.quant_max = -codes, codes
    calibrate(graph, batches(), "minmax")
    return graph


def mean_outputs(graph: torch.fx.GraphModule, name: str) -> np.ndarray:
    outputs = [output.double().numpy() for output in LayerwiseForward(graph, batches()).outputs(name)]
    channels = [np.moveaxis(output, 1, 0).reshape(output.shape[1], -1) for output in outputs]
    return np.concatenate(channels, 1).mean(1)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(3, 6, 3), nn.Sequential(nn.Flatten(), nn.Linear(192, 6))]
)
def test_a_single_layers_mean_shift_is_gone(layer):
    torch.manual_seed(0)
    graph = calibrated(layer, codes=3)
    [only] = weighted_layers(graph)
    with as_float(graph):
        expected = mean_outputs(graph, only.node.name)
    before = mean_outputs(graph, only.node.name)
    assert np.abs(before - expected).max() > 1e-3
    report = correct_biases(graph, batches())
    np.testing.assert_allclose(mean_outputs(graph, only.node.name), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(report.shifts[only.layer], expected - before, rtol=0, atol=1e-6)
    assert report.skipped == {}


def test_every_layer_of_a_network_is_right_in_the_end():
    """The layers before it are corrected by then, so one pass is enough."""
    torch.manual_seed(0)
    network = build("resnet8", SHAPE, 10, width=4)
    network(torch.rand(32, *SHAPE))
    graph = calibrated(network, codes=7)
    names = [layer.node.name for layer in weighted_layers(graph)]
    with as_float(graph):
        expected = {name: mean_outputs(graph, name) for name in names}
    before = max(np.abs(mean_outputs(graph, name) - expected[name]).max() for name in names)
    report = correct_biases(graph, batches())
    after = max(np.abs(mean_outputs(graph, name) - expected[name]).max() for name in names)
    assert before > 0.01
    assert after < 2e-6
    assert list(report.shifts) == [layer.layer for layer in weighted_layers(graph)]


class Biasless(nn.Module):
    """One layer without a bias, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.head = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.twice(torch.relu(self.twice(self.stem(x)))).mean((2, 3)))


def test_layers_that_cannot_be_corrected_are_named():
    torch.manual_seed(0)
    graph = calibrated(Biasless(), codes=7)
    before = graph.get_parameter("twice.bias").clone()
    report = correct_biases(graph, batches())
    assert report.skipped == {"stem": "it has no bias", "twice": "its bias is used 2 times"}
    assert list(report.shifts) == ["head"]
    assert torch.equal(graph.get_parameter("twice.bias"), before)


def test_mistakes():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 6, 3)
    with pytest.raises(ModelError, match="the range of .* was never set; calibrate the graph first"):
        correct_biases(prepare(network, SHAPE), batches())
    with pytest.raises(ModelError, match="no calibration data: give at least one batch of inputs"):
        correct_biases(calibrated(network), [])
