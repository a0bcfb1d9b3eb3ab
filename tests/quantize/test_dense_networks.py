"""Dense networks: the graph that ONNX Runtime executes, and which layers of it are in int8."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from torch.fx import GraphModule

from edgekd.artifact import tensors_of
from edgekd.lint import lint
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.fake_quant import fake_quants
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.quantize.quantizer import depends_on_places
from edgekd.spec import Spec
from edgekd.stages.network import build_spec
from tests.deploy.traced import count, run
from tests.quantize.dense_networks import NETWORKS

SHAPE = (3, 16, 16)
PROFILE = "onnxruntime-x86"


@dataclass(frozen=True)
class Made:
    graph: GraphModule
    model: onnx.ModelProto
    inputs: torch.Tensor


@cache
def made(name: str) -> Made:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for _ in range(5):
        network(torch.randn(8, *SHAPE))
    inputs = torch.randn(8, *SHAPE)
    graph = prepare(network.eval(), SHAPE, PROFILE)
    calibrate(graph, [inputs])
    qdq = to_qdq(graph, Preprocess("image", SHAPE, (0.0,) * 3, (1.0,) * 3))
    return Made(graph, to_runtime(qdq, graph, PROFILE, PROFILE), inputs)


@pytest.mark.parametrize("name", ["unet", "movers"])
def test_all_but_the_layer_of_the_logits_runs_in_int8(name):
    """A skip's ReLU is fused although what it is joined with has a sign, and nothing goes to float in between."""
    found = made(name)
    outputs, executed = run(found.model, found.inputs)
    kinds = count(executed)
    # The last layer's input and weight go to float.
    assert (kinds["QuantizeLinear"], kinds["DequantizeLinear"], kinds["Conv"]) == (1, 2, 1)
    assert kinds["QLinearConcat"] == kinds["Resize"] == (2 if name == "unet" else 0)
    assert not {"Relu", "Concat", "FusedConv"} & set(kinds)
    with torch.no_grad():
        expected = found.graph(found.inputs).numpy()
    assert np.abs(outputs - expected).max() < 0.1 * expected.std()


def test_coverage_of_a_unet():
    assert lint(made("unet").model, PROFILE).coverage > 0.98


def test_the_linter_has_nothing_to_say_of_what_moves_codes():
    found = {each.op for each in lint(made("movers").model, PROFILE).layers if each.findings and not each.int8}
    assert not {"DepthToSpace", "Gather", "Slice", "Pad", "Squeeze", "Unsqueeze", "MaxPool"} & found


def test_a_concatenations_inputs_keep_their_ranges():
    shared, own = (prepare(NETWORKS["unet"]().eval(), SHAPE, each) for each in ("openvino-x86", PROFILE))
    # Two concatenations, of two inputs and an output each, have one range or three.
    assert len(fake_quants(own)) == len(fake_quants(shared)) + 2 * 2


def test_interpolation_stays_in_float_and_the_linter_says_what_to_do():
    found = made("bilinear")
    _, executed = run(found.model, found.inputs)
    assert count(executed)["QuantizeLinear"] == 3  # the input, and behind each of two
    layers = [each for each in lint(found.model, PROFILE).layers if each.op == "Resize"]
    assert layers and {each.rule for each in layers} == {"interpolation"}


def test_a_transposed_convolution_and_what_replaces_it():
    [layer] = [each for each in lint(made("transposed").model, PROFILE).layers if each.op == "ConvTranspose"]
    assert not layer.int8
    assert "upsampling to the nearest value and a convolution" in layer.findings[0].advice


def test_networks_that_an_earlier_version_quantised_have_its_places():
    """Their tensors say nothing of the places; ``places`` in their change does, which that version did not write."""
    network = NETWORKS["unet"]().eval()
    first, now = (prepare(network, SHAPE, PROFILE, places=places) for places in (1, 2))
    assert set(tensors_of(first)) != set(tensors_of(now))
    assert depends_on_places(now)
    spec = Spec("unet", SHAPE, 4, {"width": 4})
    for change, places in (({}, 1), ({"places": 2}, 2)):
        restored = build_spec(spec.then("quantize", {"profile": PROFILE, **change}))
        expected = prepare(build_spec(spec).eval(), SHAPE, PROFILE, places=places)
        assert set(tensors_of(restored)) == set(tensors_of(expected))
