"""Quantisation of networks with several inputs and outputs."""

import re
from functools import partial

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.export import export_onnx, first_mismatch, output_parity, runtime_outputs, signature_of
from edgekd.models.signature import find_signature
from edgekd.quantize import calibrate, convert, export_runtime, prepare
from edgekd.quantize.adaround import adaround
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.equalization import equalize
from edgekd.quantize.rounding import RoundingSearch
from edgekd.quantize.sensitivity import sensitivities
from edgekd.tasks.signature import Signature
from tests.several_tensors import batches, image_and_text, tagger


def quantised(network: nn.Module, signature: Signature, profile: str = "onnxruntime-x86") -> torch.fx.GraphModule:
    graph = prepare(network, signature, profile)
    calibrate(graph, batches(signature))
    return graph


def outputs_of(network: nn.Module, signature: Signature) -> list[dict[str, torch.Tensor]]:
    with torch.no_grad():
        return [signature.named(network(*each)) for each in batches(signature)]


@pytest.mark.parametrize("make", [image_and_text, tagger])
@pytest.mark.parametrize("profile", ["onnxruntime-x86", "onnxruntime-arm", "tensorrt"])
def test_files_of_runtimes_give_every_output_of_the_graph_at_every_length(tmp_path, make, profile):
    network, signature = make()
    graph = quantised(network, signature, profile)
    path = export_runtime(graph, tmp_path / "m.onnx", None, profile, trained=profile, inputs=signature)
    model = onnx.load(path)
    assert [each.name for each in model.graph.output] == [each.name for each in signature.outputs]
    assert signature_of(model) == signature
    types = {each.name: each.type.tensor_type.elem_type for each in model.graph.input}
    readers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert readers and not any(types.get(node.input[0]) == onnx.TensorProto.INT64 for node in readers)
    found = output_parity(outputs_of(graph, signature), runtime_outputs(path, batches(signature), optimised=False))
    assert list(found) == [each.name for each in signature.outputs]
    # For TensorRT sums and products stay in float16, where the graph rounds them; elsewhere ties are rounded otherwise.
    assert max(each.mean_steps for each in found.values()) < (3 if profile == "tensorrt" else 1)
    against = output_parity(outputs_of(network, signature), outputs_of(graph, signature))
    assert 0 < max(each.mean_steps for each in against.values()) < 12


def test_the_layer_that_another_runtime_computes_otherwise(tmp_path):
    """It is given the inputs by their names, in a file that is cut off."""
    network, signature = image_and_text()
    path = export_runtime(quantised(network, signature), tmp_path / "m.onnx", None, "onnxruntime-x86", inputs=signature)
    inputs = [each.numpy() for each in batches(signature)[0]]

    def there(cut, given, steps=0):
        assert list(given) == ["image", "tokens"]
        session = onnxruntime.InferenceSession(str(cut), providers=["CPUExecutionProvider"])
        return session.run(None, given)[0].astype(int) + steps

    assert first_mismatch(path, inputs, outputs=there) == first_mismatch(path, inputs)
    assert first_mismatch(path, inputs, outputs=partial(there, steps=3)).steps >= 3


def test_a_converted_graph_is_exported_with_the_names_of_the_signature(tmp_path):
    network, signature = tagger()
    graph = convert(quantised(network, signature))
    path = export_onnx(graph, tmp_path / "m.onnx", None, inputs=signature)
    found = output_parity(outputs_of(graph, signature), runtime_outputs(path, batches(signature), optimised=False))
    assert max(each.max_steps for each in found.values()) < 2


def test_outputs_and_integers_are_not_quantised():
    network, signature = image_and_text()
    graph = prepare(network, signature)
    [output] = graph.graph.find_nodes(op="output")
    assert not any("activation_post_process" in str(node) for node in output.all_input_nodes)
    tokens = graph.graph.find_nodes(op="placeholder")[1]
    [embedding] = [user for user in tokens.users if user.op == "call_function"]
    assert str(embedding.target) == "aten.embedding.default"
    # The embedding's result is what the first linear layer takes.
    assert all("activation_post_process" in str(user) for user in embedding.users)


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x, y):
        both = torch.cat([torch.relu(self.left(x)), self.right(y)], 1)
        return both, both.chunk(2, 1)[0]


def test_outputs_behind_quantised_operators_keep_their_names(tmp_path):
    torch.manual_seed(0)
    network = Joined().eval()
    signature = find_signature(network, (torch.rand(2, 8), torch.rand(2, 8)), outputs=("both", "first"))
    graph = prepare(network, signature)
    samples = [signature.example(64, generator=torch.Generator().manual_seed(0))]
    calibrate(graph, samples)
    for target in ("onnxruntime-x86", "onnxruntime-x86-vnni"):
        path = export_runtime(graph, tmp_path / "m.onnx", None, target, trained="onnxruntime-x86", inputs=signature)
        with torch.no_grad():
            ours = [signature.named(graph(*each)) for each in samples]
        found = output_parity(ours, runtime_outputs(path, samples, optimised=False))
        assert list(found) == ["both", "first"] and max(each.max_steps for each in found.values()) < 3


def test_weights_are_fitted_layer_by_layer_through_both_inputs():
    network, signature = image_and_text()
    graph = prepare(network, signature)
    assert ("mix", "project") in equalize(graph).pairs
    calibrate(graph, batches(signature))
    rounded = adaround(graph, batches(signature), RoundingSearch(iterations=20), positions=200)
    assert {layer.layer for layer in rounded.layers} == {
        *("conv1", "conv2", "mix", "project", "joint", "feature", "head"),
    }
    assert len(correct_biases(graph, batches(signature)).shifts) == 7


def test_sensitivity_needs_a_divergence_of_several_outputs():
    network, signature = tagger()
    graph = quantised(network, signature)
    with pytest.raises(ModelError, match="the graph gives several outputs: say how far they are apart"):
        sensitivities(graph, batches(signature))

    def apart(ours, reference):
        return (ours["score"] - reference["score"]).abs().sum(1)

    found = sensitivities(graph, batches(signature), apart)
    assert {each.layer for each in found} == {"hidden", "tag", "whole"}
    assert min(each.divergence for each in found) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image, tokens: image, "calibration data of 1 inputs: the network takes image, tokens, in this order"),
        (lambda image, tokens: (image, tokens.float()), "of shape (16, 9): input 'tokens' takes (N, any) of int64"),
        (lambda image, tokens: (image[:, :2], tokens), "of shape (16, 2, 16, 16): input 'image' takes (N, 3, 16, 16)"),
    ],
)
def test_calibration_data_of_another_kind(change, said):
    network, signature = image_and_text()
    graph = prepare(network, signature)
    with pytest.raises(ModelError, match=re.escape(said)):
        calibrate(graph, [change(*batches(signature)[0])])


def test_an_infinite_mask_is_refused():
    network, signature = tagger()
    graph = prepare(network, signature)
    tokens, mask = batches(signature)[0]
    with pytest.raises(ModelError, match="has 144 infinite among 144 values"):
        calibrate(graph, [(tokens, mask - torch.inf)])


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv1d(2, 4, 5), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.convolution(x).mean(2))


def test_limits_that_a_network_needs_are_named():
    network = Convolved().eval()
    example, axes = torch.rand(2, 2, 16), {"input": {2: "time"}}
    with pytest.raises(ModelError, match=re.escape("give the signature limits, {'time': (5, None)} or a little more")):
        prepare(network, find_signature(network, example, open=axes))
    prepare(network, find_signature(network, example, open=axes, limits={"time": (6, None)}))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.heads, self.out = nn.Embedding(20, 16), nn.MultiheadAttention(16, 2), nn.Linear(16, 2)

    def forward(self, tokens, padding):
        words = self.words(tokens).transpose(0, 1)
        return self.out(self.heads(words, words, words, padding)[0].mean(0))


def test_both_weights_of_an_attention_are_quantised(tmp_path):
    """They are in one module, and the exporter renames them where it transposes them."""
    torch.manual_seed(0)
    network = Attending().eval()
    example = (torch.randint(0, 20, (2, 7)), torch.zeros(2, 7, dtype=torch.bool))
    axes = {"tokens": {1: "length"}, "padding": {1: "length"}}
    signature = find_signature(network, example, open=axes)
    samples = [
        (signature.sized(length=n).example(8, generator=torch.manual_seed(n))[0], example[1].new_zeros(8, n))
        for n in (5, 9)
    ]
    graph = prepare(network, signature)
    calibrate(graph, samples)
    path = export_runtime(
        graph, tmp_path / "m.onnx", None, "onnxruntime-x86", trained="onnxruntime-x86", inputs=signature
    )
    model = onnx.load(path)
    int8 = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8]
    assert sum(len(each.dims) == 2 for each in int8) == 3
    with torch.no_grad():
        ours = [signature.named(graph(*each)) for each in samples]
    assert output_parity(ours, runtime_outputs(path, samples, optimised=False))["logits"].mean_steps < 1
