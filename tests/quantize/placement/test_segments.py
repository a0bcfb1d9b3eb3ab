import onnx_ir as ir
import pytest

from edgekd.quantize.placement.segments import segments_of
from tests.deploy.traced import traced

# by hand, of images of 8x8: the layers of each segment, and what leaves it
EXPECTED = {
    "residual": [
        (("stem.0",), 8 * 64),
        (("one.0", "two.0"), 8 * 64),
        (("three.0", "four.0", "down.0"), 16),  # the pooling belongs to what it follows
        (("head",), 4),
    ],
    "mobilenetv2": [
        (("stem.0",), 8 * 64),
        (("wide.0", "depthwise.0", "narrow.0"), 8),
        (("head",), 4),
    ],
    "mobilenetv3": [
        (("stem.0",), 8 * 64),
        (("wide.0",), 16 * 64),
        (("squeeze", "excite"), 16 * 64),  # the gate's factor is read past them
        (("narrow.0",), 8),
        (("head",), 4),
    ],
    "dense": [(("stem",), 8 * 64), (("one",), 16 * 64), (("transition",), 8), (("head",), 4)],
    "swish": [(("one.0",), 8 * 64), (("two.0",), 8), (("head",), 4)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_network_is_a_chain(name):
    found = [(segment.layers, segment.width) for segment in segments_of(ir.from_proto(traced(name).model))]
    assert [(set(layers), width) for layers, width in found] == [
        (set(layers), width) for layers, width in EXPECTED[name]
    ]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_node_that_computes_is_in_one_segment(name):
    model = traced(name).model
    weights = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear" and _stored(model, node)}
    named = [each for segment in segments_of(ir.from_proto(model)) for each in segment.nodes]
    steps = ("QuantizeLinear", "DequantizeLinear")
    computing = [node.name for node in model.graph.node if node.op_type not in steps and not set(node.input) & weights]
    assert sorted(named) == sorted(computing)


def _stored(model, node) -> bool:
    return node.input[0] in {tensor.name for tensor in model.graph.initializer}
