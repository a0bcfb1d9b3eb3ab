import copy

import numpy as np
import onnx
import pytest
import torch

from edgekd.artifact import Artifact, capture, fill
from edgekd.errors import EdgekdError, ExportError
from edgekd.profiles import PROFILES, must_serve
from edgekd.quantize import prepare
from edgekd.quantize.fake_quant import FakeQuantize, fake_quants, weighted_layers
from edgekd.quantize.files import audit, export_runtime, to_runtime
from edgekd.spec import Spec
from tests.deploy.networks import IMAGE, NETWORKS
from tests.deploy.traced import PREPROCESS, deployed, quantised, traced

TARGETS = [name for name, profile in PROFILES.items() if profile.runtime]


@pytest.mark.parametrize("target", TARGETS)
def test_a_portable_graph_gives_every_file(target):
    made = traced("residual")
    model = to_runtime(made.model, made.graph, "portable", target)
    # the scale of each layer's weight and of what it reads
    assert audit(model, made.graph) == 2 * len(weighted_layers(made.graph)) == 14


OVERFLOWS = "its 8-bit weights overflow on x86 processors without VNNI"


@pytest.mark.parametrize(
    ("trained", "refused"),
    [
        ("portable", {}),
        (
            "onnxruntime-x86",
            {"tensorrt": "its activations have zero points, which tensorrt refuses"},
        ),
        (
            "onnxruntime-x86-vnni",
            {
                "onnxruntime-x86": OVERFLOWS,
                "openvino-x86": OVERFLOWS,
                "tensorrt": "its activations have zero points, which tensorrt refuses",
            },
        ),
        (
            "onnxruntime-arm",
            {
                "onnxruntime-x86": OVERFLOWS,
                "openvino-x86": OVERFLOWS,
                "tensorrt": "its activations have zero points, which tensorrt refuses",
            },
        ),
        ("tensorrt", {"onnxruntime-x86": OVERFLOWS, "openvino-x86": OVERFLOWS}),
    ],
)
def test_who_serves_whom(trained, refused):
    for target in TARGETS:
        if target not in refused:
            must_serve(trained, target)
            continue
        with pytest.raises(ExportError) as error:
            must_serve(trained, target)
        assert str(error.value) == (
            f"a network quantised for {trained} gives no file for {target}: {refused[target]}; "
            "quantise with 'profile: portable'"
        )


@pytest.mark.parametrize("copied", [False, True])
def test_a_graph_knows_what_it_was_prepared_for(tmp_path, copied):
    graph = prepare(NETWORKS["swish"]().eval(), IMAGE, "onnxruntime-x86-vnni")
    with pytest.raises(ExportError, match=f"a network quantised for onnxruntime-x86-vnni gives no file .*{OVERFLOWS}"):
        export_runtime(copy.deepcopy(graph) if copied else graph, tmp_path / "m.onnx", PREPROCESS, "onnxruntime-x86")
    assert not list(tmp_path.iterdir())


def test_portable_is_no_runtime():
    with pytest.raises(ExportError, match="portable is a way to train, no runtime; export for "):
        must_serve("portable", "portable")


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(ExportError, match="did you mean 'tensorrt'"):
        must_serve("portable", "tensort")


@pytest.mark.parametrize("name", ["residual", "mobilenetv2", "mobilenetv3"])
def test_portable_scales_are_numbers_of_float16(name):
    for module in fake_quants(traced(name).graph).values():
        scale = module.scale.numpy()
        assert np.array_equal(scale.astype(np.float16).astype(np.float32), scale)
        assert not module.zero_point.any()


def test_weights_have_seven_bits_where_products_could_overflow():
    """What is never negative has codes under 128 and leaves room for eight: 2·127·127 = 32258 fits 16 bits."""
    codes = {
        layer.layer: (layer.weight_fake_quant.quant_min, layer.weight_fake_quant.quant_max)
        for layer in weighted_layers(traced("mobilenetv3").graph)
    }
    seven, eight = (-64, 63), (-127, 127)
    assert codes == {
        "stem.0": seven,
        "wide.0": seven,  # behind a hard-swish
        "squeeze": seven,  # the mean of hard-swishes
        "excite": eight,
        "narrow.0": seven,
        "head": seven,
    }
    assert 2 * 127 * 127 < 2**15 <= 2 * 255 * 127
    assert 2 * 255 * 64 < 2**15


def test_one_ulp_is_noticed():
    made, model = traced("residual"), onnx.ModelProto()
    model.CopyFrom(deployed("residual", "onnxruntime-x86"))
    [conv] = [node for node in model.graph.node if node.name == "one.0/Conv"]
    for index in (0, 1):  # the input's, the weight's
        tampered = onnx.ModelProto()
        tampered.CopyFrom(model)
        [step] = [node for node in tampered.graph.node if conv.input[index] in node.output]
        [scale] = [tensor for tensor in tampered.graph.initializer if tensor.name == step.input[1]]
        values = np.atleast_1d(onnx.numpy_helper.to_array(scale).copy())
        values[-1] = np.nextafter(values[-1], np.float32(1))
        scale.CopyFrom(onnx.numpy_helper.from_array(values.reshape(tuple(scale.dims)), scale.name))
        with pytest.raises(ExportError, match=r"one\.0/Conv: the file's scale \[.*\] is not the trained one \["):
            audit(tampered, made.graph)
    audit(model, made.graph)


def test_a_graph_comes_back_from_its_tensors(tmp_path):
    """With a layer in float, a learned scale, and what was calibrated: same answers, same file."""
    network, graph, inputs = quantised("residual")
    for layer in weighted_layers(graph):
        if layer.layer == "two.0":
            layer.weight_fake_quant.disable_fake_quant()
    spec = Spec("cifar_resnet20", IMAGE, 4).then("quantize", {"profile": "portable"})
    capture(graph, spec).save(tmp_path)
    again = prepare(network, IMAGE, "portable")
    fill(again, Artifact.load(tmp_path).tensors)
    with torch.no_grad():
        assert torch.equal(again(inputs), graph(inputs))
    assert _states(again) == _states(graph)
    assert [on for _, on in _states(again)].count(False) == 1


def _states(graph) -> list[tuple[str, bool]]:
    def state(module: FakeQuantize) -> bool:
        return bool(module.fake_quant_enabled[0])

    return [(name, state(module)) for name, module in fake_quants(graph).items()]


def test_tensors_of_another_network_are_refused():
    _, graph, _ = quantised("residual")
    with pytest.raises(EdgekdError):
        fill(quantised("swish")[1], capture(graph, Spec("cifar_resnet20", IMAGE, 4, {})).tensors)
