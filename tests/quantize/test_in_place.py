"""What a network writes in place into a part of a tensor, a prepared graph computes too."""

import pytest
import torch
from torch import Tensor, nn

from edgekd.export import deploy, parity
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.calibration import as_float
from edgekd.quantize.qdq import to_qdq
from tests.deploy.networks import IMAGE
from tests.deploy.traced import PREPROCESS, run


class Decoding(nn.Module):
    """The first YOLO heads decode their boxes so."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.head(torch.relu(self.stem(x)))).permute(0, 2, 3, 1)
        y[..., 0:2] = y[..., 0:2] * 2 - 0.5
        y[..., 2:4].mul_(4)
        return y.flatten(1)


class Masked(nn.Module):
    """Clears channels on the way, and reads them again by a part that it took before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.body, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        part = x[:, 2:6]
        x[:, :4] = 0
        x += 0.5
        y = torch.relu(self.body(x))
        y[:, 2:6].add_(part)
        return self.head(y.mean((2, 3)))


@pytest.mark.parametrize("make", [Decoding, Masked])
def test_the_graph_computes_the_network(make):
    torch.manual_seed(0)
    network, x = make(), 2 * torch.randn(16, *IMAGE)
    for _ in range(10):
        network(2 * torch.randn(16, *IMAGE) + 1)
    network.eval()
    graph = prepare(network, IMAGE)
    with torch.no_grad():
        expected = network(x)
        with as_float(graph):
            torch.testing.assert_close(graph(x), expected, rtol=1e-4, atol=1e-5)
    calibrate(graph, [x])
    with torch.no_grad():
        quantised = graph(x)
    assert parity(expected, quantised).mean_steps < 6
    answers, _ = run(deploy(to_qdq(graph, PREPROCESS), "onnxruntime-x86"), x)
    assert parity(quantised, torch.from_numpy(answers)).mean_steps < 1
