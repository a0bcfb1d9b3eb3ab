"""Profiles of real runs, against work counted by hand."""

import json

import pytest

from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile
from edgekd.bench.profile.profiler import profile_workload
from edgekd.errors import MeasurementError
from edgekd.runtimes.onnxruntime.profile import profile
from tests.runtimes.onnxruntime.networks import RESIDUAL_MACS, quantised, residual


@pytest.fixture(scope="module")
def residual_file(tmp_path_factory):
    return residual(tmp_path_factory.mktemp("residual") / "residual.onnx")


def test_each_layer_has_the_network_s_name_and_its_own_work(residual_file):
    layers = profile(Workload(str(residual_file)), 1, 1, 3).layers
    assert {layer.name: layer.macs for layer in layers if layer.macs} == RESIDUAL_MACS
    assert all(layer.ms >= 0 for layer in layers)


def test_the_work_grows_with_the_batch_and_the_weights_do_not(residual_file):
    one, four = (profile(Workload(str(residual_file)), 1, batch, 3).layers for batch in (1, 4))
    assert sum(layer.macs for layer in four) == 4 * sum(RESIDUAL_MACS.values())
    assert sum(layer.weight_bytes for layer in four) == sum(layer.weight_bytes for layer in one)


def test_bytes_of_a_product(residual_file):
    [head] = [layer for layer in profile(Workload(str(residual_file)), 1, 1, 3).layers if layer.name == "head"]
    assert (head.bytes, head.weight_bytes, head.precision) == (4 * (6 + 5 * 6 + 5 + 5), 4 * (5 * 6 + 5), "float32")


def test_an_int8_convolution_is_joined_to_the_float_layer(tmp_path):
    layers = profile(Workload(str(quantised(tmp_path / "q.onnx"))), 1, 1, 3).layers
    [conv] = [layer for layer in layers if layer.macs]
    assert (conv.name, conv.op, conv.precision) == ("features.conv", "QLinearConv", "int8")
    assert conv.macs == 64 * 16 * 8 * 9
    # uint8 in and out, int8 weights, int32 biases, and some scales and zero points
    least = 64 * 8 + 64 * 16 + 16 * 8 * 9 + 4 * 16
    assert least <= conv.bytes < least + 150
    assert {"QuantizeLinear", "DequantizeLinear"} <= {layer.op for layer in layers}


@pytest.mark.slow
def test_module_paths_of_both_exporters_of_pytorch(tmp_path):
    import torch
    from torch import nn

    block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
    network = nn.Sequential(nn.Conv2d(3, 8, 3), block, nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    for number, dynamo in enumerate((True, False)):
        path = tmp_path / f"{number}.onnx"
        torch.onnx.export(network, (torch.zeros(1, 3, 8, 8),), str(path), dynamo=dynamo, verbose=False)
        layers = profile(Workload(str(path)), 1, 1, 2).layers
        assert [layer.name for layer in layers if layer.macs] == ["0", "1.0", "3"]


def test_a_profile_goes_through_json_and_leaves_a_trace(residual_file, tmp_path):
    document = profile_workload(Workload(str(residual_file)), 1, 1, 3, tmp_path / "trace.json").to_json()
    found = LayerProfile.from_json(json.loads(json.dumps(document)))
    assert 3 <= found.runs <= 12
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == found.runs * len(found.layers)
    assert {event["name"] for event in events} == {layer.name for layer in found.layers}
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        (Workload("nowhere.onnx"), "no such file: nowhere.onnx"),
        (Workload("x.onnx", device="cuda"), "does not wait for cuda"),
        (Workload("x.onnx", runtime="ncnn"), "unknown runtime 'ncnn'"),
    ],
)
def test_what_cannot_be_profiled(workload, message):
    with pytest.raises(MeasurementError, match=message):
        profile_workload(workload, 1, 1, 3)


def test_no_runs(residual_file):
    with pytest.raises(MeasurementError, match="0 runs are nothing to take a median of; give --runs 1 or more"):
        profile_workload(Workload(str(residual_file)), 1, 1, 0)
