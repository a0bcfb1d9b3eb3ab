from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from onnx import ModelProto

from edgekd.bench.profile.layers import LayerTime
from edgekd.deploy import deploy
from edgekd.quantize.placement.regions import Partition, partition
from edgekd.quantize.placement.search import mixed_placements, without_overhead
from tests.deploy.test_keep_float import in_float
from tests.deploy.traced import traced
from tests.quantize.placement.divided import PROFILE, divided

# by hand, of images of 8x8: the layers of each region, and what leaves it
CHAINS = {
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
# by hand, of images of 32x32: the layers of each region, the first of each region that reads what leaves it, and that
NETWORKS = {
    "unet": {
        "down.0.0": {("down.0.3",): 8 * 1024},
        "down.0.3": {("down.1.0",): 8 * 256, ("narrow.1",): 8 * 1024},
        "down.1.0": {("down.1.3",): 16 * 256},
        "down.1.3": {("down.2.0",): 16 * 64, ("narrow.0",): 16 * 256},
        "down.2.0": {("down.2.3",): 32 * 64},
        "down.2.3": {("narrow.0",): 32 * 64},
        "narrow.0": {("up.0.0",): 32 * 256},  # upsampled, and joined with the skip
        "up.0.0": {("up.0.3",): 16 * 256},
        "up.0.3": {("narrow.1",): 16 * 256},
        "narrow.1": {("up.1.0",): 16 * 1024},
        "up.1.0": {("up.1.3",): 8 * 1024},
        "up.1.3": {("head",): 8 * 1024},
        "head": {},
    },
    "fpn": {
        "stem.0": {("stages.0.0.0",): 4 * 256},
        "stages.0.0.0": {("stages.0.1.first.0",): 8 * 64},
        "stages.0.1.first.0 stages.0.1.second.0": {("stages.1.0.0",): 8 * 64},
        "stages.1.0.0": {("stages.1.1.first.0",): 16 * 16},
        "stages.1.1.first.0 stages.1.1.second.0": {("lateral.0", "stages.2.0.0"): 16 * 16},
        "stages.2.0.0": {("stages.2.1.first.0",): 32 * 4},
        "stages.2.1.first.0 stages.2.1.second.0": {("lateral.1",): 32 * 4},
        "lateral.0": {("lateral.1",): 8 * 16},
        "lateral.1": {("smooth.1.0",): 8 * 4, ("smooth.0.0",): 8 * 16},  # upsampled, and added to the finer level
        "smooth.0.0": {("heads.0.box.0.0", "heads.0.cls.0.0"): 8 * 16},
        "smooth.1.0": {("heads.1.box.0.0", "heads.1.cls.0.0"): 8 * 4},
        **{
            name: found
            for level, size in ((0, 16), (1, 4))
            for kind in ("cls", "box")
            for name, found in {
                f"heads.{level}.{kind}.0.0": {(f"heads.{level}.{kind}.1",): 8 * size},
                f"heads.{level}.{kind}.1": {},
            }.items()
        },
    },
    "heads": {
        "stem": {("trunk",): 8 * 1024},
        "trunk": {("far.0", "near.0"): 8 * 256},
        "near.0": {("near.1",): 8 * 256},
        "near.1": {},
        "far.0": {("far.1",): 8 * 256},
        "far.1": {},
    },
    "shared": {"stem": {("down", "head"): 8 * 1024}, "down": {("head",): 8 * 256}, "head": {}},
    "upsampled": {
        "stem": {("one",): 8 * 1024},
        "one two": {("last",): 16 * 1024},
        "last": {},
    },
    "indexed": {"stem": {("last",): 8 * 1024}, "last": {}},
}


def parts_of(model: ModelProto) -> Partition:
    return partition(ir.from_proto(model))


def names_of(parts: Partition) -> list[str]:
    return [" ".join(sorted(region.layers)) for region in parts.regions]


@pytest.mark.parametrize("name", CHAINS)
def test_a_network_is_a_chain(name):
    parts = parts_of(traced(name).model)
    assert [set(region.layers) for region in parts.regions] == [set(layers) for layers, _ in CHAINS[name]]
    widths = [width for _, width in CHAINS[name]][:-1]
    assert [(each.maker, each.readers, each.width) for each in parts.boundaries] == [
        (index, (index + 1,), width) for index, width in enumerate(widths)
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_or_a_graph_of_layers_and_blocks(name):
    parts = parts_of(divided(name).model)
    found: dict[str, dict[tuple[str, ...], int]] = {each: {} for each in names_of(parts)}
    for each in parts.boundaries:
        readers = tuple(sorted(names_of(parts)[reader].split()[0] for reader in each.readers))
        found[names_of(parts)[each.maker]][readers] = each.width
    assert found == NETWORKS[name]


def test_cross_stage_blocks_and_the_way_back_up():
    """A block's parts lie side by side between its two convolutions of 1x1."""
    names = names_of(parts_of(divided("pan").model))
    for stage in range(2):
        blocks = f"stages.{stage}.1"
        inside = f"{blocks}.blocks.0"
        assert {f"{blocks}.enter.0", f"{inside}.first.0 {inside}.second.0", f"{blocks}.leave.0"} <= set(names)
    assert {"lateral.0", "lateral.1", "down.0.0", "smooth.0.0", "smooth.1.0"} <= set(names)


def test_a_shape_is_no_activation():
    model = divided("indexed").model
    [shape] = [node for node in model.graph.node if node.op_type == "Shape"]
    assert list(shape.input) == ["input"]
    assert shape.name not in {node for region in parts_of(model).regions for node in region.nodes}


@pytest.mark.parametrize("name", [*CHAINS, "unet", "fpn", "pan", "heads", "shared", "upsampled"])
def test_every_node_that_computes_is_in_one_region(name):
    model = traced(name).model if name in CHAINS else divided(name).model
    weights = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear" and _stored(model, node)}
    named = [each for region in parts_of(model).regions for each in region.nodes]
    steps = ("QuantizeLinear", "DequantizeLinear")
    computing = [node.name for node in model.graph.node if node.op_type not in steps and not set(node.input) & weights]
    assert sorted(named) == sorted(computing)


def _stored(model, node) -> bool:
    return node.input[0] in {tensor.name for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", ["unet", "fpn", "pan", "heads", "shared"])
def test_each_region_alone_in_float_or_in_int8(name):
    """Its layers and no others are in float, and ONNX Runtime gives nearly what the float network does."""
    made = divided(name)
    regions = parts_of(made.model).regions
    layers = {layer for region in regions for layer in region.layers}
    exact = made.outputs(deploy(made.model, PROFILE, ("",)))
    for region in regions:
        others = tuple(node for other in regions if other is not region for node in other.nodes)
        for kept, expected in ((region.nodes, set(region.layers)), (others, layers - set(region.layers))):
            file = deploy(made.model, PROFILE, kept)
            assert {node.partition("/")[0] for node in in_float(file)} == expected
            for found, reference in zip(made.outputs(file), exact, strict=True):
                assert np.sqrt(np.mean((found - reference) ** 2)) < 0.1 * reference.std()


def made_up(model: ModelProto, ms: float, others: Mapping[str, float] | None = None) -> list[LayerTime]:
    """In place of a profile: every layer takes ``ms``, those under the paths in ``others`` something else."""
    paths = others or {}
    return [
        LayerTime(layer, "Conv", next((paths[path] for path in paths if layer.startswith(path)), ms), 0, 0, "")
        for region in parts_of(model).regions
        for layer in region.layers
    ]


def test_a_head_that_is_slower_in_int8_stays_in_float_alone():
    model = divided("heads").model
    found = mixed_placements(parts_of(model), made_up(model, 1.0, {"far": 3.0}), made_up(model, 2.0))
    assert list(found) == ["mixed-0"]  # whatever a conversion costs, it is the same
    assert in_float(deploy(model, PROFILE, found["mixed-0"])) == ["far.0/Conv", "far.1/Conv"]


def test_what_gains_less_than_its_conversion_does_not():
    """Three microseconds are gained in one layer. Its 2,048 activations take one, and the conversion itself two."""
    model = divided("heads").model
    in_int8 = made_up(model, 1.0, {"far": 3.0, "near.1": 2.003})
    found = mixed_placements(parts_of(model), in_int8, made_up(model, 2.0))
    layers = {name: sorted(in_float(deploy(model, PROFILE, kept))) for name, kept in found.items()}
    far = ["far.0/Conv", "far.1/Conv"]
    assert layers == {"mixed-0": [*far, "near.1/Conv"], "mixed-0.5": far}


def test_what_the_profiler_adds_is_taken_off_each_layer():
    layers = [LayerTime(str(ms), "Conv", ms, 0, 0, "") for ms in (1.0, 5.0, 3.0, 0.25)]
    assert [each.ms for each in without_overhead(layers, 7.25)] == [0.5, 4.5, 2.5, 0.0]
    assert without_overhead(layers, 10.0) == layers
