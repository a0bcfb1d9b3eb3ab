"""Outputs of a network that its own layers read on: they stay in float, and what reads them computes in int8."""

import pytest
import torch
import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.export import output_parity, runtime_outputs
from edgekd.models.signature import find_signature
from edgekd.profiles import PROFILES
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from tests.deploy.networks import IMAGE

NAMES = ("logits", "embedding", "gate", "second", "first")


class Backbone(nn.Module):
    """Gives logits, the embedding before them, a gate, and the maps of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide, self.third, self.last = (nn.Conv2d(width, 8, 3, padding=1) for width in (3, 8, 8, 8))
        self.gate, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first = F.relu6(self.stem(x))
        second = F.hardswish(self.wide(first))
        third = torch.relu(self.third(second))
        gate = F.hardsigmoid(self.gate(third))
        embedding = torch.relu(self.last(third * gate)).mean((2, 3))
        return self.head(embedding), embedding, gate, second, first


@pytest.fixture(scope="module")
def quantised() -> tuple[GraphModule, ModelProto, dict[str, Tensor], Tensor]:
    torch.manual_seed(0)
    network, inputs = Backbone().eval(), 2 * torch.randn(16, *IMAGE)
    signature = find_signature(network, inputs, outputs=NAMES)
    graph = prepare(network, signature, "portable")
    calibrate(graph, [inputs])
    with torch.no_grad():
        expected = signature.named(graph(inputs))
    return graph, to_qdq(graph, None, inputs=signature), expected, inputs


@pytest.mark.parametrize("target", [name for name, profile in PROFILES.items() if profile.runtime])
def test_every_file_gives_them(quantised, tmp_path, target):
    graph, qdq, expected, inputs = quantised
    path = tmp_path / "m.onnx"
    model = to_runtime(qdq, graph, "portable", target)
    path.write_bytes(model.SerializeToString())
    found = output_parity([expected], runtime_outputs(path, [inputs], optimised=False))
    assert tuple(found) == NAMES
    # For TensorRT sums and products stay in float16, where the graph rounds them; elsewhere halves go either way.
    assert max(each.mean_steps for each in found.values()) < (3 if target == "tensorrt" else 1)
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) >= 4
