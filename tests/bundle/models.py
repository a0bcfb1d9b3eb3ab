from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def linear_model(path: Path, batch: int | str = "N", scale: float = 1.0) -> Path:
    """Tells which half of an 8 x 8 picture is bright: Flatten and Gemm with weights set by hand."""
    half = np.zeros((1, 8, 8), np.float32)
    half[:, :, :4] = 1 / 32
    weight = np.stack([np.full(64, -1 / 64), half.ravel(), half[:, :, ::-1].ravel()]).astype(np.float32) * scale
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
        ],
        "half",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.zeros(3, np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return path


def vector_model(path: Path) -> Path:
    """Two features, each the logit of its class."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["logits"])],
        "same",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def golden_of(model: Path, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    fed = np.random.default_rng(0).uniform(-1, 1, (n, 1, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[0]
    step = size if isinstance(size, int) else n
    got = [session.run(None, {"input": fed[i : i + step]})[0] for i in range(0, n, step)]
    return fed, np.concatenate(got)
