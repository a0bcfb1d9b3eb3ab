"""The linter on files with several inputs, outputs and open dimensions."""

import onnx
import pytest
import torch
from torch import nn

from edgekd.cli.lint import sentences
from edgekd.errors import ModelError
from edgekd.export import to_onnx
from edgekd.lint import lint
from edgekd.models.signature import find_signature
from edgekd.quantize import calibrate, export_runtime, prepare
from tests.several_tensors import batches, image_and_text, tagger


def file(make, folder, target):
    network, signature = make()
    graph = prepare(network, signature, target)
    calibrate(graph, batches(signature))
    return onnx.load(export_runtime(graph, folder / "m.onnx", None, target, trained=target, inputs=signature))


class Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 8, 3, stride=2, padding=1), nn.Conv1d(8, 4, 3, padding=1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def test_dimensions_that_are_computed_from_open_ones_are_counted_too():
    network = Strided().eval()
    signature = find_signature(network, torch.rand(2, 2, 16), open={"input": {2: "time"}})
    model = to_onnx(network, None, (), inputs=signature)
    found = lint(model, "onnxruntime-x86", confirm=False)
    assert [layer.macs for layer in found.weighted] == [8 * 2 * 3 * 8, 4 * 8 * 3 * 8]


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
    assert found.coverage == 1 and found.sizes == {"length": 9} and found.to_json()["sizes"] == {"length": 9}
    longer = lint(model, "tensorrt", confirm=False, sizes={"length": 20})
    assert next(layer.macs for layer in longer.weighted) == 20 * 16 * 32
    share = "100.0 % of the MACs of convolutions and matrix products in int8, at length=20: 3 of 3 layers"
    assert share in sentences(longer)
    with pytest.raises(ModelError, match="the size of 'lenght' is given, which no input has; open are length"):
        lint(model, "tensorrt", confirm=False, sizes={"lenght": 20})
    next(entry for entry in model.metadata_props if entry.key.endswith("signature")).value = "{"
    with pytest.raises(ModelError, match="the signature in the file's metadata is damaged"):
        lint(model, "tensorrt", confirm=False)
