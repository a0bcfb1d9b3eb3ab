import numpy as np
import pytest
import torch

from edgekd.artifact import tensors_of
from edgekd.errors import ExportError
from edgekd.models import build
from edgekd.quantize import PROFILES, calibrate, convert, prepare
from edgekd.runtime import SMALLEST_SCALE


def int8_weights(weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [value for value in weights.values() if value.dtype == np.int8 and value.ndim >= 2]


@pytest.mark.parametrize(("name", "layers"), [("residual", 4), ("mlp", 3)])
def test_reduced_weights_have_seven_bits(quantised, name, layers):
    found = int8_weights(quantised(name).weights)
    assert len(found) == layers
    for weight in found:
        assert weight.min() >= -64 and weight.max() <= 63
        assert np.abs(weight.reshape(len(weight), -1).astype(int)).max(1).min() >= 63, "each channel uses its range"


def test_full_weights_have_eight():
    graph = prepare(build("mlp", (8,), 4), (8,), "onnxruntime-x86-vnni")
    calibrate(graph, [torch.randn(4, 8)])
    found = int8_weights({name: value.detach().numpy() for name, value in tensors_of(convert(graph)).items()})
    assert len(found) == 3
    for weight in found:
        assert weight.min() >= -127
        assert (np.abs(weight.reshape(len(weight), -1).astype(int)).max(1) == 127).all()


def test_why_seven_bits():
    """Two products of the largest activation and weight, added in 16 bits."""
    largest = {name: max(map(abs, PROFILES[name].weight_range(False))) for name in PROFILES}
    assert 2 * 255 * largest["onnxruntime-x86"] <= np.iinfo(np.int16).max < 2 * 255 * largest["onnxruntime-x86-vnni"]
    assert 2 * 255 * largest["portable"] <= np.iinfo(np.int16).max
    # What is never negative has codes of 0 to 127 in a symmetric range, which leaves room for 8-bit weights.
    assert PROFILES["portable"].weight_range(True) == (-127, 127)
    assert np.iinfo(np.int16).max >= 2 * 127 * 127


def test_a_dead_channel_has_a_scale(quantised):
    made = quantised("bottleneck")
    steps = [node for node in made.model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = [np.atleast_1d(made.weights[node.input[1]]) for node in steps]
    assert all((scale >= SMALLEST_SCALE).all() for scale in scales)
    assert any((scale == np.float32(SMALLEST_SCALE)).any() for scale in scales), "the dead ones are among them"
    assert np.isfinite(made.runtime()).all()


def test_weights_are_scaled_per_channel(quantised):
    """Scale: the largest absolute weight of a filter over half of the 127 steps."""
    made = quantised("residual")
    weights = made.weights
    expected = made.network.stem.weight.detach().abs().amax((1, 2, 3)).numpy() / 63.5
    scales = [value for value in weights.values() if value.shape == (8,) and value.dtype == np.float32]
    assert any(np.allclose(scale, expected, rtol=1e-5) for scale in scales)


def test_an_unknown_profile():
    with pytest.raises(ExportError) as error:
        prepare(torch.nn.Linear(2, 2), (2,), "onnxruntime-x87")
    assert str(error.value) == (
        "unknown quantisation profile 'onnxruntime-x87' (did you mean 'onnxruntime-x86'?); "
        "known: onnxruntime-arm, onnxruntime-x86, onnxruntime-x86-vnni, openvino-x86, openvino-x86-vnni, portable, "
        "tensorrt"
    )
