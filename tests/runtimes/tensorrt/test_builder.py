import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgekd.errors import ExportError
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.runtimes.tensorrt import build, layer_precisions
from tests.runtimes.tensorrt.graphs import one_conv, residual_net, started
from tests.several_tensors import LONGEST, batches, tagger


@pytest.mark.parametrize("capability", ["SM80", "SM86", "SM89", "SM120"])
def test_int8_is_built_ahead_of_time(rtx, capability):
    engine = build(residual_net(), capability, batches=(1, 4, 8))
    assert engine.plan[:4] == b"vtrt"
    assert (engine.library, engine.version) == ("tensorrt_rtx", rtx.__version__)
    assert (engine.capability, engine.gpu) == (capability, "")
    assert 0 < engine.seconds < 60
    precisions = layer_precisions(engine.layers)
    assert (precisions["correlation"], precisions["gemm"]) == ({"int8": 3}, {"int8": 1})


def test_layers_say_which_nodes_they_run(rtx):
    engine = build(residual_net(), "SM89")
    convolutions = [layer for layer in engine.layers.values() if layer.kind == "correlation"]
    named = [node.name for node in onnx.load_model_from_string(residual_net()).graph.node if node.op_type == "Conv"]
    assert [name for name in named if any(f"[ONNX Layer: {name}]" in layer.metadata for layer in convolutions)] == named
    assert convolutions[0].inputs[0].dimensions[1:] == (16, 8, 8)


# The parser takes it, and the convolution runs in float16: only the layers tell.
def test_int8_that_is_lost_without_a_word(rtx):
    engine = build(one_conv(scale=np.full(16, 0.05), axis=1), "SM89")
    assert layer_precisions(engine.layers)["correlation"] == {"float16": 1}


def test_without_q_and_dq_the_types_of_the_file_decide(rtx):
    graph, x = started()
    weight = graph.constant(np.ones((32, 16, 3, 3), np.float16))
    model = graph.model(graph.conv(x, weight, 32, kernel_shape=[3, 3]), ("batch", 16, 8, 8))
    assert layer_precisions(build(model, "SM89").layers)["correlation"] == {"float16": 1}


def test_a_fixed_batch_needs_no_batches(rtx):
    engine = build(residual_net((2, 16, 8, 8)), "SM89")
    shapes = [tensor.dimensions[0] for layer in engine.layers.values() for tensor in layer.inputs]
    assert set(shapes) == {2}


def test_too_small_a_workspace_is_said(rtx):
    with pytest.raises(ExportError, match=r"builds no engine for SM89: .*workspace limit"):
        build(residual_net(), "SM89", workspace_bytes=1)


def test_what_the_parser_refuses_is_not_built(rtx):
    with pytest.raises(ExportError, match=r"does not take this file: QuantizeLinear .*Non-zero zero point"):
        build(one_conv(zero=3), "SM89")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"capability": "SM98"}, r"'SM98' \(did you mean 'SM89'\?\); known: SM75, SM80, SM86"),
        ({"capability": "CURRENT"}, "does not build for 'CURRENT'"),
        ({"batches": (4, 2, 8)}, r"\(4, 2, 8\) must be the least"),
        ({"batches": (0, 1, 1)}, "from 1 on"),
        ({"workspace_bytes": 0}, "a workspace of 0 bytes"),
    ],
)
def test_arguments_that_cannot_be(rtx, arguments, words):
    with pytest.raises(ExportError, match=words):
        build(residual_net(), **{"capability": "SM89", **arguments})


def test_a_timing_cache_is_not_for_rtx(rtx, tmp_path):
    with pytest.raises(ExportError, match="keeps no timing cache; leave it out"):
        build(residual_net(), "SM89", timing_cache=tmp_path / "timings")


def test_open_sizes_are_refused(rtx):
    with pytest.raises(ExportError, match=r"'input' has the shape \(-1, 16, -1, 8\), open beyond its batch"):
        build(residual_net(("batch", 16, "height", 8)), "SM89")


def test_open_sizes_have_the_limits_of_the_file_s_signature(rtx):
    network, signature = tagger()
    graph = prepare(network, signature, "tensorrt")
    calibrate(graph, batches(signature))
    qdq = to_qdq(graph, None, inputs=signature)
    model = to_runtime(qdq, graph, "tensorrt", "tensorrt")
    engine = build(model.SerializeToString(), "SM89", batches=(1, 2, 4))
    assert "int8" in layer_precisions(engine.layers)["gemm"]
    entry = next(each for each in model.metadata_props if each.key.endswith("signature"))
    entry.value = entry.value.replace(f'"most": {LONGEST}', '"most": null')
    with pytest.raises(ExportError, match="gives no largest size of 'length', which TensorRT needs: export it with"):
        build(model.SerializeToString(), "SM89")
    entry.value = "[]"
    with pytest.raises(ExportError, match="the signature in the file's metadata is damaged"):
        build(model.SerializeToString(), "SM89")


def test_without_a_gpu_there_is_a_way_out(rtx, no_gpu):
    with pytest.raises(ExportError, match=r"no NVIDIA driver|gives no GPU") as error:
        build(residual_net())
    assert "build ahead of time for one of SM75, SM80" in str(error.value)


@pytest.mark.gpu
def test_the_gpu_here(rtx, gpu):
    if gpu.capability not in rtx.ComputeCapability.__members__:
        with pytest.raises(ExportError, match="builds no engine"):
            build(residual_net())
        return
    here, ahead = build(residual_net()), build(residual_net(), gpu.capability)
    assert here.gpu == gpu.name
    assert layer_precisions(here.layers)["correlation"] == layer_precisions(ahead.layers)["correlation"]


def test_nothing_is_printed_and_torch_is_not_loaded(rtx, tmp_path):
    (tmp_path / "net.onnx").write_bytes(residual_net())
    code = (
        "import json, sys; from pathlib import Path; from edgekd.runtimes.tensorrt import build\n"
        f"engine = build(Path({str(tmp_path / 'net.onnx')!r}).read_bytes(), 'SM89')\n"
        "print(json.dumps([len(engine.plan) > 0, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (json.loads(done.stdout), done.stderr) == ([True, False], "")
