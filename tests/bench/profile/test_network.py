"""Names of layers, from what the exporters of PyTorch leave in a file."""

import pytest
from onnx import helper

from edgekd.bench.profile.network import SCOPES, Network, module_path
from tests.runtimes.onnxruntime.networks import save, weight


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.3/conv/conv.1/conv.1.0/Conv", "features.3.conv.1.0"),
        ("/conv1/Conv", "conv1"),
        ("/Add", ""),
    ],
)
def test_paths_of_the_older_exporter(name, path):
    assert module_path(name) == path


@pytest.mark.parametrize(
    ("weight_name", "node_name", "scopes", "label"),
    [
        ("layer1.0.conv1.weight", "node_conv2d", "", "layer1.0.conv1"),
        ("layer1.0.conv1.weight_quantized", "node_conv2d", "", "layer1.0.conv1"),
        ("_frozen_param3", "node_conv2d", "['', 'layer1', 'layer1.0.conv1', 'conv2d_3']", "layer1.0.conv1"),
        ("onnx::Conv_193", "/layer1/layer1.0/conv1/Conv", "", "layer1.0.conv1"),
        ("onnx::Conv_193", "Conv_5", "", None),
        ("onnx::Conv_193", "Conv_5", "['', 'conv2d']", None),
    ],
)
def test_labels(tmp_path, weight_name, node_name, scopes, label):
    node = helper.make_node("Conv", ["x", weight_name], ["y"], node_name)
    if scopes:
        node.metadata_props.add(key=SCOPES, value=scopes)
    path = save(tmp_path / "one.onnx", [node], [weight(weight_name, 4, 3, 3, 3)], {"x": [1, 3, 8, 8]})
    network = Network(path)
    assert network.label(network.nodes[0]) == label
