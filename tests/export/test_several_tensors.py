"""Files of networks with several inputs and outputs."""

import json
import re

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.errors import ExportError, ModelError
from edgekd.export import (
    export_onnx,
    half,
    output_parity,
    parity,
    runtime_logits,
    runtime_outputs,
    signature_of,
    to_onnx,
)
from edgekd.export.onnx_file import must_be_open
from edgekd.models.signature import find_signature
from edgekd.preprocess import Preprocess
from edgekd.tasks.signature import Signature, TensorSpec
from tests.several_tensors import batches, image_and_text, tagger


def dimensions(model: onnx.ModelProto) -> dict[str, list[str | int]]:
    values = (*model.graph.input, *model.graph.output)
    return {each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in values}


@pytest.mark.parametrize("make", [image_and_text, tagger])
def test_every_output_is_the_network_s_at_every_length(tmp_path, make):
    network, signature = make()
    path = export_onnx(network, tmp_path / "m.onnx", None, inputs=signature)
    samples = batches(signature)
    with torch.no_grad():
        ours = [signature.named(network(*each)) for each in samples]
    found = output_parity(ours, runtime_outputs(path, samples))
    assert list(found) == [each.name for each in signature.outputs]
    assert max(each.max_abs_difference for each in found.values()) < 1e-5
    assert {each.n for each in found.values()} == {32}
    model = onnx.load(path)
    assert signature_of(model) == signature
    named = [{spec.name: tensor for spec, tensor in zip(signature.inputs, each, strict=True)} for each in samples]
    [by_name, *_] = runtime_outputs(path, named[:1])
    assert torch.equal(by_name[signature.outputs[0].name], runtime_logits(path, samples[:1]))


def test_open_dimensions_are_named_in_the_file():
    network, signature = tagger()
    model = to_onnx(network, None, (), inputs=signature)
    assert dimensions(model) == {
        "tokens": ["batch", "length"],
        "mask": ["batch", "length"],
        "tags": ["batch", "length", 5],
        "score": ["batch", 2],
    }


def test_a_signature_of_one_bare_tensor_changes_no_byte():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    preprocess = Preprocess("image", (3, 2, 2), (0.0,) * 3, (1.0,) * 3)
    plain = to_onnx(network, preprocess, ("a", "b", "c"))
    signature = find_signature(network, torch.zeros(2, 3, 2, 2))
    assert to_onnx(network, preprocess, ("a", "b", "c"), inputs=signature) == plain
    assert signature_of(plain) is None
    assert [entry.key for entry in plain.metadata_props] == ["edgekd.preprocess", "edgekd.labels"]


def test_one_of_several_inputs_may_have_a_preprocessing():
    network, signature = image_and_text()
    model = to_onnx(network, Preprocess("image", (3, 16, 16), (0.5,) * 3, (0.5,) * 3), (), inputs=signature)
    kept = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert [key.removeprefix("edgekd.") for key in kept] == ["preprocess", "labels", "signature"]


def test_float16_keeps_integers_and_the_types_of_inputs_and_outputs(tmp_path):
    network, signature = image_and_text()
    model = half(to_onnx(network, None, (), inputs=signature))
    kinds = [each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT]
    path = tmp_path / "half.onnx"
    path.write_bytes(model.SerializeToString())
    samples = batches(signature)
    ours = [signature.named(network(*each)) for each in samples]
    found = output_parity(ours, runtime_outputs(path, samples, optimised=False))
    assert 0 < found["embedding"].max_abs_difference < 1e-2


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


def test_a_recurrent_network_takes_any_length(tmp_path):
    network = Recurrent().eval()
    signature = find_signature(network, torch.zeros(2, 7, 4), open={"input": {1: "time"}})
    model = to_onnx(network, None, (), inputs=signature)
    # The exporter writes the example's length here.
    assert dimensions(model)["logits"] == ["batch", "time", 4]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    longer = torch.rand(3, 11, 4)
    with torch.no_grad():
        torch.testing.assert_close(runtime_logits(path, [longer]), network(longer))


def test_a_fixed_size_in_the_place_of_an_open_dimension():
    network, signature = tagger()
    model = to_onnx(network, None, (), inputs=signature)
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 9
    with pytest.raises(ExportError, match="fixed the open dimension 'length' of 'mask' to the example's size: give"):
        must_be_open(model, signature)


class PassingOn(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, linear):
        made = torch.relu(self.linear(x))
        return made, {"relu": made, "x_": x + linear, "given": x}


def test_names_that_others_have_already_and_values_that_are_given_twice(tmp_path):
    network = PassingOn().eval()
    signature = find_signature(
        network, (torch.rand(2, 4), torch.rand(2, 4)), outputs=("y", "relu", "linear.weight", "add")
    )
    path = export_onnx(network, tmp_path / "m.onnx", None, inputs=signature)
    samples = [signature.example(5, generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        ours = [signature.named(network(*each)) for each in samples]
    found = output_parity(ours, runtime_outputs(path, samples))
    assert list(found) == ["y", "relu", "linear.weight", "add"]
    assert max(each.max_abs_difference for each in found.values()) < 1e-6


def test_mistakes(tmp_path):
    network, signature = image_and_text()
    for silent in (None, Preprocess("tensors", (), (), ())):
        with pytest.raises(ExportError, match="neither preprocess nor inputs says what the network takes"):
            to_onnx(network, silent, ())
    more = Signature(signature.inputs, (*signature.outputs, TensorSpec("third", (1,))), signature.open)
    with pytest.raises(ExportError, match="wrote 2 inputs and 2 outputs, and the network's signature names 2 and 3"):
        to_onnx(network, None, (), inputs=more)
    path = export_onnx(network, tmp_path / "m.onnx", None, inputs=signature)
    image, tokens = batches(signature)[0]
    for batch, given in (
        (image, "0"),
        ((image, tokens, tokens), "0, 1, 2"),
        ({"image": image, "ids": tokens}, "image, ids"),
    ):
        with pytest.raises(ExportError, match=re.escape(f"takes image, tokens; the batch has {given}")):
            list(runtime_outputs(path, [batch]))
    with pytest.raises(ExportError, match="the outputs a are compared with b"):
        output_parity([{"b": image}], [{"a": image}])
    with pytest.raises(ExportError, match=re.escape("the output 'a' has the shape (2,), the reference's (3,)")):
        output_parity([{"a": torch.zeros(3)}], [{"a": torch.zeros(2)}])


def test_a_damaged_signature():
    network, signature = tagger()
    model = to_onnx(network, None, (), inputs=signature)
    entry = next(each for each in model.metadata_props if each.key.endswith(".signature"))
    for text in ("[", "3", "{}", '{"inputs": [], "outputs": []}'):
        entry.value = text
        with pytest.raises(ModelError, match="the signature in the file's metadata is damaged"):
            signature_of(model)


def test_parity_by_hand():
    reference = [{"ids": torch.tensor([[0, 4]])}, {"ids": torch.tensor([[10], [2]])}]
    found = output_parity(reference, [{"ids": torch.tensor([[1, 4]])}, {"ids": torch.tensor([[10], [5]])}])["ids"]
    assert (found.max_abs_difference, found.n) == (3, 3)
    assert found.max_steps == pytest.approx(3 * 255 / 10) and found.mean_steps == pytest.approx(1 * 255 / 10)
    logits = torch.randn(5, 3)
    assert parity(logits, logits + 1).n == 5
    assert np.isclose(parity(logits, logits + 1).max_abs_difference, 1)
