from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def write_model(path: Path, width: int = 64, layers: int = 1, shape: list[object] | None = None) -> Path:
    """``layers`` products with one square matrix: nothing but work."""
    weight = np.linspace(-1, 1, width * width, dtype=np.float32).reshape(width, width) / width
    names = ["x", *(f"h{layer}" for layer in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    edges = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)]
        for name, dims in (("x", shape or ["batch", width]), ("y", None))
    ]
    graph = helper.make_graph(nodes, "work", *edges, [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("light") / "light.onnx", width=256, layers=2)


@pytest.fixture(scope="session")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same matrix four times as often as in ``light``."""
    return write_model(tmp_path_factory.mktemp("heavy") / "heavy.onnx", width=256, layers=8)
