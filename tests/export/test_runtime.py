from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data import DataSet
from edgekd.errors import ExportError
from edgekd.export import export_onnx, float_convolutions, parity, runtime_logits
from edgekd.quantize import calibrate, convert, prepare
from edgekd.train import logits_of


@pytest.fixture(scope="module")
def path(digits: DataSet, trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(trained, tmp_path_factory.mktemp("float") / "net.onnx", digits.preprocess)


def test_the_runtime_answers_as_torch_does(digits, trained, path):
    ours, theirs = logits_of(trained, digits, digits.test), runtime_logits(path, digits.inputs(digits.test))
    same = parity(ours, theirs)
    assert same.agreement == 1.0 and same.max_abs_difference < 1e-4 and same.n == 360
    left, count = float_convolutions(path)
    assert count == len(left) == 3


def test_int8_answers_as_its_fake_quantised_graph_does(digits, trained, tmp_path):
    graph = prepare(trained, digits.input_shape)
    calibrate(graph, [digits.to_input(digits.train.raw[:256])])
    path = export_onnx(convert(graph), tmp_path / "net.onnx", digits.preprocess)
    same = parity(logits_of(graph, digits, digits.test), runtime_logits(path, digits.inputs(digits.test)))
    assert same.agreement >= 0.99
    assert same.max_abs_difference < 0.05 * float(logits_of(graph, digits, digits.test).std())
    assert float_convolutions(path) == ([], 3)


def test_answers_are_in_order_whatever_the_batch(digits, path):
    few = digits.test.select(torch.tensor([7, 3, 300]))
    whole = runtime_logits(path, digits.inputs(digits.test))
    np.testing.assert_allclose(runtime_logits(path, digits.inputs(few)), whole[[7, 3, 300]], atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_file_that_the_runtime_cannot_load(digits, tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=f"^{path} does not load in ONNX Runtime"):
        runtime_logits(path, digits.inputs(digits.test))
    with pytest.raises(ExportError, match=f"^{path} does not load in ONNX Runtime"):
        float_convolutions(path)
