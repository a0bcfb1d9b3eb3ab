"""Copies of networks that keep what a forward pass computed, which PyTorch itself refuses to copy."""

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

from edgekd.distill import fuse_teacher
from edgekd.errors import ModelError
from edgekd.export import export_onnx, runtime_logits
from edgekd.models.copies import copied
from edgekd.models.modes import in_evaluation
from edgekd.prune import prune
from edgekd.prune.depth import residual_blocks
from edgekd.prune.latency import layers_of
from edgekd.quantize import prepare
from edgekd.quantize.calibration import as_float
from edgekd.quantize.fake_quant import weighted_layers
from edgekd.runtimes.pytorch.session import TorchSession

SHAPE = (3, 8, 8)


class Keeping(nn.Module):
    """Keeps its features, as networks do that show them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 16, 3), nn.Linear(16, 4)
        self.kept: dict[str, list[Tensor]] = {}
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.features = torch.relu(self.conv(x))
        self.kept = {"maps": [self.features]}
        if self.training:
            self.mean = self.features.mean()
        return self.head(self.features.mean((2, 3)))


def normed() -> nn.Module:
    torch.manual_seed(0)
    layers = [weight_norm(nn.Conv2d(3, 16, 3)), nn.BatchNorm2d(16), nn.ReLU(), spectral_norm(nn.Conv2d(16, 16, 3))]
    network = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    network(2 * torch.randn(16, *SHAPE) + 1)
    return network


def test_what_is_kept_is_copied_without_its_history():
    network, x = Keeping(), torch.randn(2, *SHAPE)
    network(x)
    made = copied(network)
    assert torch.equal(made.features, network.features) and torch.equal(made.mean, network.mean)
    assert made.kept["maps"][0] is made.features and not made.features.requires_grad
    assert made.features.data_ptr() != network.features.data_ptr()
    assert network.features.grad_fn is not None, "the network itself is left as it is"
    assert torch.equal(made(x), network(x))


def test_what_cannot_be_copied():
    network = nn.Sequential(nn.Linear(2, 2))
    network.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"Sequential cannot be copied: cannot pickle '_thread.lock' object; keep "):
        copied(network)


def test_a_network_that_keeps_features_is_pruned():
    torch.manual_seed(0)
    network = Keeping()
    network(torch.randn(2, *SHAPE))
    pruned = prune(network, SHAPE, macs=0.6, round_to=1)
    assert pruned.share <= 0.6
    assert pruned.network(torch.randn(2, *SHAPE)).shape == (2, 4)


def test_older_hooks_on_weights_in_every_room():
    network, x = normed(), torch.randn(4, *SHAPE)
    with torch.no_grad(), in_evaluation(network):
        expected = network(x)
    assert network.training and residual_blocks(network, SHAPE) == []
    assert list(layers_of(network, SHAPE)) == ["0", "3", "7"]
    fused = fuse_teacher(network, SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(fused.eval()(x), expected, rtol=1e-4, atol=1e-5)
    session = TorchSession.of(network, (4, *SHAPE))
    found = session.outputs({session.input_names[0]: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found["logits"]), expected, rtol=1e-4, atol=1e-5)


def test_older_hooks_on_weights_in_a_file(tmp_path):
    network, x = normed(), torch.randn(4, *SHAPE)
    with torch.no_grad(), in_evaluation(network):
        expected = network(x)
    path = export_onnx(network, tmp_path / "m.onnx", None, inputs=SHAPE)
    torch.testing.assert_close(runtime_logits(path, [x]), expected, rtol=1e-4, atol=1e-5)


def test_computed_weights_are_quantised_and_take_their_batchnorm():
    network, x = normed(), torch.randn(4, *SHAPE)
    with torch.no_grad(), in_evaluation(network):
        expected = network(x)
    graph = prepare(network, SHAPE)
    assert {layer.layer for layer in weighted_layers(graph) if layer.weight_fake_quant} == {"0", "3", "7"}
    assert not any("norm" in str(node.target) for node in graph.graph.nodes)
    with torch.no_grad(), as_float(graph):
        torch.testing.assert_close(graph(x), expected, rtol=1e-4, atol=1e-5)
