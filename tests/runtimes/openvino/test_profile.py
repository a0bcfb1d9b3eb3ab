from pathlib import Path

from edgekd.bench.plan import Workload
from edgekd.bench.target import LocalTarget
from edgekd.lint.graph import LintGraph, macs_of
from tests.deploy.traced import deployed

TARGET = "openvino-x86"


def written(folder, name: str) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(deployed(name, TARGET).SerializeToString())
    return path


def test_times_have_the_names_and_the_work_of_the_layers(tmp_path):
    from edgekd.runtimes.openvino.profile import profile

    model = deployed("residual", TARGET)
    found = profile(Workload(str(written(tmp_path, "residual")), "openvino"), 1, 1, 4)
    graph = LintGraph(model)
    expected = {
        node.name.partition("/")[0]: macs_of(node, graph) for node in model.graph.node if node.op_type == "Conv"
    }
    convolutions = [layer for layer in found.layers if layer.op == "Conv"]
    assert {layer.name: layer.macs for layer in convolutions} == expected
    assert {layer.precision for layer in convolutions} == {"int8"}
    assert all(layer.weight_bytes > 0 for layer in convolutions)
    assert found.runs == 4
    assert found.unprofiled_ms > 0


def test_the_same_are_timed_on_a_target(tmp_path):
    from edgekd.runtimes.openvino.profile import layer_times

    layers = layer_times(written(tmp_path, "residual"), 1, 4, LocalTarget())
    assert sum(layer.op == "Conv" for layer in layers) == 6
    assert all(layer.ms >= 0 for layer in layers)
