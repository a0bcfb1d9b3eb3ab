"""The linter on files with several inputs, outputs and open dimensions."""

import onnx
import pytest

from edgekd.errors import ModelError
from edgekd.lint import lint
from edgekd.quantize import calibrate, export_runtime, prepare
from tests.several_tensors import batches, image_and_text, tagger


def file(make, folder, target):
    network, signature = make()
    graph = prepare(network, signature, target)
    calibrate(graph, batches(signature))
    return onnx.load(export_runtime(graph, folder / "m.onnx", None, target, trained=target, inputs=signature))


@pytest.mark.parametrize("make", [image_and_text, tagger])
@pytest.mark.parametrize("target", ["onnxruntime-x86", "onnxruntime-arm"])
def test_rules_say_what_the_runtime_does(tmp_path, make, target):
    found = lint(file(make, tmp_path, target), target)
    assert not found.disagreements and found.confirmed_by
    assert found.coverage_of == "MACs"
    assert found.coverage > (0.9 if make is tagger else 0.25)


def test_multiply_accumulates_are_those_of_the_examples_length(tmp_path):
    model = file(tagger, tmp_path, "tensorrt")
    found = lint(model, "tensorrt", confirm=False)
    assert {layer.name.partition("/")[0]: layer.macs for layer in found.weighted} == {
        **{"hidden": 9 * 16 * 32, "tag": 9 * 32 * 5, "whole": 32 * 2},
    }
    assert found.coverage == 1
    next(entry for entry in model.metadata_props if entry.key.endswith("signature")).value = "{"
    with pytest.raises(ModelError, match="the signature in the file's metadata is damaged"):
        lint(model, "tensorrt", confirm=False)
