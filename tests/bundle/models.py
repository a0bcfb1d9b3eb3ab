import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgekd.tasks.signature import METADATA, OpenDimension, Signature, TensorSpec

# A row for each token; the first says nothing, the others a class each.
TABLE = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32)


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


def maps_model(path: Path, shape: tuple[int, ...], batch: int | str, maps: dict[str, int], stride: int) -> Path:
    """Add convolutions of drawn weights, one for each of ``maps``, which has so many channels."""
    random = np.random.default_rng(3)
    size = [each // stride for each in shape[1:]]
    nodes, weights = [], []
    for name, channels in maps.items():
        weight = random.normal(0, 2 / (shape[0] * stride**2) ** 0.5, (channels, shape[0], stride, stride))
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"weight.{name}"))
        nodes.append(helper.make_node("Conv", ["input", f"weight.{name}"], [name], strides=[stride, stride]))
    graph = helper.make_graph(
        nodes,
        "maps",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, each, *size]) for name, each in maps.items()],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def picture_and_tokens(path: Path, batch: int | str = "batch", most: int | None = None) -> Path:
    """Add to the logits of ``linear_model`` the mean row of a table that the tokens choose."""
    model = onnx.load(linear_model(path, batch))
    graph = model.graph
    graph.input[0].name = graph.node[0].input[0] = "image"
    graph.node[1].output[0] = "seen"
    graph.node.extend(
        [
            helper.make_node("Gather", ["table", "tokens"], ["rows"]),
            helper.make_node("ReduceMean", ["rows"], ["embedding"], axes=[1], keepdims=0),
            helper.make_node("Add", ["seen", "embedding"], ["logits"]),
            helper.make_node("ReduceMax", ["embedding"], ["peak"], axes=[1], keepdims=0),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(TABLE, "table"))
    graph.input.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, [batch, "length"]))
    outputs = {"embedding": [batch, 3], "logits": [batch, 3], "peak": [batch]}
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items())
    inputs = (TensorSpec("image", (1, 8, 8)), TensorSpec("tokens", ("length",), "int64", (0, 3)))
    signature = Signature(inputs, (), (OpenDimension("length", 2, None, most),))
    helper.set_model_props(model, {f"edgekd.{METADATA}": json.dumps(signature.to_json())})
    onnx.save(model, path)
    return path


def named_samples(n: int = 4, length: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    image = random.uniform(-1, 1, (n, 1, 8, 8)).astype(np.float32)
    return {"image": image, "tokens": random.integers(0, 4, (n, length))}


def random_model(path: Path, shape: tuple[int, ...], batch: int | str = "N", labels: int = 3) -> Path:
    """Flatten and Gemm with drawn weights: logits of a few units, to which every value counts."""
    count = int(np.prod(shape))
    weight = np.random.default_rng(2).normal(0, 2 / count**0.5, (labels, count)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight"], ["logits"], transB=1),
        ],
        "random",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, labels])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path
