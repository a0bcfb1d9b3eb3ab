"""Nodes of ONNX Runtime, joined to the layers that they were made from."""

import pytest
from onnx import helper

from edgekd.bench.profile.trace import family
from edgekd.runtimes.onnxruntime.join import UnfusedNetwork, fits
from tests.runtimes.onnxruntime.networks import residual


@pytest.mark.parametrize(
    ("name", "op", "outputs", "origin"),
    [
        ("b_nchwc", "Conv", ["reorder_token_1"], "node_1"),  # named after the ReLU that is fused into it
        ("node_3_token_7", "QLinearConv", ["node_3"], "node_3"),
        ("fused node_3", "FusedConv", ["e"], "node_3"),
        ("node_4", "QLinearAdd", ["d"], "node_4"),
        ("ReorderOutput", "ReorderOutput", ["e"], None),
        ("node_1", "Relu", ["nothing"], None),
    ],
)
def test_origins_of_what_the_runtime_made(tmp_path, name, op, outputs, origin):
    network = UnfusedNetwork(residual(tmp_path / "r.onnx"))
    found = network.origin(helper.make_node(op, ["in"], outputs, name), network)
    assert (found.name if found is not None else None) == origin


def test_a_padded_weight_fits_and_another_does_not():
    assert fits((20, 3, 3, 3), (24, 3, 3, 3))
    assert fits((20, 3, 3, 3), (3, 3, 3, 20))
    assert not fits((20, 3, 3, 3), (20, 3, 1, 1))
    assert not fits((64, 3, 3, 3), (20, 3, 3, 3))


def test_families():
    ops = ("NhwcFusedConv", "ConvTranspose", "QGemm", "MatMulInteger", "QLinearAdd", "Softmax")
    assert [family(op) for op in ops] == ["Conv", "Conv", "MatMul", "MatMul", "Add", "Softmax"]
