"""Which layer a runtime's optimisations leave the file's arithmetic at."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from edgekd.export import first_mismatch
from tests.deploy.traced import deployed, traced


@pytest.fixture
def saturating():
    """A processor that adds pairs of 8-bit products in 16 bits."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    if "avx2" not in flags or "vnni" in flags:
        pytest.skip("this processor's products do not saturate")


def loud(layer: str) -> ModelProto:
    """A file one of whose layers has the largest codes everywhere, at the same values."""
    model = ModelProto()
    model.CopyFrom(deployed("residual", "onnxruntime-x86"))
    [node] = [node for node in model.graph.node if node.name == f"{layer}/Conv"]
    [step] = [each for each in model.graph.node if node.input[1] in each.output]
    [codes] = [tensor for tensor in model.graph.initializer if tensor.name == step.input[0]]
    shape = tuple(codes.dims)
    codes.CopyFrom(numpy_helper.from_array(np.full(shape, 127, np.int8), codes.name))
    return model


def test_nothing_departs_from_a_clean_file(tmp_path):
    onnx.save(deployed("swish", "onnxruntime-x86"), tmp_path / "clean.onnx")
    assert first_mismatch(tmp_path / "clean.onnx", traced("swish").inputs.numpy()) is None


def test_it_is_the_layer_whose_products_saturate(saturating, tmp_path):
    onnx.save(loud("stem.0"), tmp_path / "loud.onnx")
    found = first_mismatch(tmp_path / "loud.onnx", np.full((4, 3, 8, 8), 1e3, np.float32))
    assert found is not None
    assert found.layer == "stem.0/Conv"
    assert found.steps > found.bound == 1.5


def test_a_looser_bound_takes_it(saturating, tmp_path):
    onnx.save(loud("stem.0"), tmp_path / "loud.onnx")
    inputs = np.full((4, 3, 8, 8), 1e3, np.float32)
    assert first_mismatch(tmp_path / "loud.onnx", inputs, bound=256) is None
