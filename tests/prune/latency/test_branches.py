from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgekd.prune.latency import Layer, layers_of
from edgekd.prune.latency.branches import WEIGHT, branches

MODULES = [
    (nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()), (3, 15, 12)),
    (nn.Conv2d(16, 12, (5, 2), (2, 3), (2, 0), (1, 2), groups=4), (16, 20, 21)),
    (nn.Conv2d(16, 16, (4, 3), padding="same", groups=16), (16, 11, 12)),
    (nn.Conv1d(4, 8, 7, 2), (4, 33)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), (4, 7, 9)),
    (nn.Sequential(nn.Linear(12, 5), nn.ReLU()), (12,)),
    (nn.Linear(12, 5), (7, 12)),
]
INT8 = {"QLinearConv": 4, "ConvTranspose": 1, "QGemm": 1, "MatMulIntegerToFloat": 1}


def constant(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        nn.init.constant_(parameter, WEIGHT)
    return network


@pytest.fixture(scope="module")
def layers() -> list[Layer]:
    return [next(iter(layers_of(nn.Sequential(module), shape).values())) for module, shape in MODULES]


def test_branches_compute_what_the_modules_do(layers):
    model = branches(layers, "float32")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = [random.random((1, *shape), dtype=np.float32) for _, shape in MODULES]
    names = [node.name for node in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, inputs, strict=True)))
    for (module, _), x, found in zip(MODULES, inputs, outputs, strict=True):
        with torch.no_grad():
            expected = constant(module)(torch.from_numpy(x)).numpy()
        if expected.ndim > 2:  # averaged over all but batch and what comes after it
            expected = expected.mean(axis=tuple(range(2, expected.ndim)), keepdims=True)
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("codes", [np.uint8, np.int8])
def test_int8_computes_in_int8(layers, codes, tmp_path: Path):
    model = branches(layers, "int8", codes)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # What ONNX Runtime does on Arm by itself.
    options.add_session_config_entry("session.qdqisint8allowed", str(int(codes is np.int8)))
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = onnx.load(tmp_path / "optimised.onnx").graph
    found = Counter(node.op_type for node in made.node)
    assert {name: found[name] for name in INT8} == INT8
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & found.keys()
    elements = {tensor.name: tensor.data_type for tensor in made.initializer}
    weights = [elements[node.input[3]] for node in made.node if node.op_type == "QLinearConv"]
    assert set(weights) == {onnx.TensorProto.INT8}
