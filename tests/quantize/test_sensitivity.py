import pytest
import torch
import torch.nn.functional as F

from edgekd.artifact import tensors_of
from edgekd.errors import ModelError
from edgekd.export import deploy
from edgekd.quantize.fake_quant import fake_quants, weighted_layers
from edgekd.quantize.qdq import to_qdq
from edgekd.quantize.sensitivity import float_layers, keep_in_float, sensitivities
from tests.deploy.traced import PREPROCESS, constants, quantised


@pytest.fixture
def planted():
    """A network one of whose layers has scales a hundred times too wide."""
    _, graph, inputs = quantised("residual")
    [layer] = [each for each in weighted_layers(graph) if each.layer == "three.0"]
    module = layer.weight_fake_quant
    module.set_range(module.min_val * 100, module.max_val * 100)
    return graph, inputs


def test_the_worst_layer_comes_first(planted):
    graph, inputs = planted
    found = sensitivities(graph, [inputs])
    assert found[0].layer == "three.0"
    assert found[0].divergence > 3 * found[1].divergence
    assert sorted((each.divergence for each in found), reverse=True) == [each.divergence for each in found]
    assert {each.layer for each in found} == {layer.layer for layer in weighted_layers(graph)}


def test_harm_is_the_divergence_of_one_layer_alone(planted):
    """By hand: KL(float || one layer quantised), in nats for each sample; batches are pooled."""
    graph, inputs = planted
    found = {each.layer: each.divergence for each in sensitivities(graph, [inputs[:24], inputs[24:]])}

    def logits(*enabled) -> torch.Tensor:
        for module in fake_quants(graph).values():
            module.enable_fake_quant(any(module is each for each in enabled))
        with torch.no_grad():
            return graph(inputs).double()

    [layer] = [each for each in weighted_layers(graph) if each.layer == "three.0"]
    exact, moved = logits(), logits(layer.weight_fake_quant, layer.input_fake_quant)
    p, q = F.softmax(exact, 1), F.softmax(moved, 1)
    by_hand = float((p * (p.log() - q.log())).sum() / len(inputs))
    assert found["three.0"] == pytest.approx(by_hand, rel=1e-3)


def test_the_graph_is_left_as_it_was(planted):
    graph, inputs = planted
    keep_in_float(graph, "one.0")
    before = {name: value.clone() for name, value in tensors_of(graph).items()}
    found = sensitivities(graph, [inputs])
    after = tensors_of(graph)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert float_layers(graph) == ["one.0"]
    assert {each.layer for each in found} >= {"two.0", "head"}


def test_also_where_it_is_interrupted(planted):
    graph, inputs = planted
    before = {name: value.clone() for name, value in tensors_of(graph).items()}

    def broken(ours: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
        raise InterruptedError("in the midst of a layer")

    with pytest.raises(InterruptedError, match="in the midst of a layer"):
        sensitivities(graph, [inputs], broken)
    assert all(torch.equal(before[name], value) for name, value in tensors_of(graph).items())


def test_a_layer_left_in_float_is_float_in_the_file(planted):
    graph, _ = planted
    keep_in_float(graph, "three.0")
    exported = to_qdq(graph, PREPROCESS)
    for target in ("onnxruntime-x86", "tensorrt"):
        model = deploy(exported, target)
        stored = constants(model)
        inline = [
            node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in stored
        ]
        assert inline == ["three.0/Conv"]
        [node] = [node for node in model.graph.node if node.name == "three.0/Conv"]
        weight = graph.get_parameter("three.0.weight").detach().numpy()
        # not the codes' values: what the layer was trained to
        assert stored[node.input[1]] == pytest.approx(weight, rel=1e-3 if target == "tensorrt" else 0, abs=1e-6)


def test_without_samples_nothing_is_measured(planted):
    graph, inputs = planted
    with pytest.raises(ModelError, match="no calibration data: give at least one batch"):
        sensitivities(graph, [])
    with pytest.raises(ModelError, match=r"calibration data of shape \(32, 2, 8, 8\): the network takes"):
        sensitivities(graph, [inputs[:, :2]])


def test_a_layer_that_is_not_there(planted):
    graph, _ = planted
    with pytest.raises(ModelError, match=r"the graph has no layer 'three' \(did you mean 'three.0'\?\); known: stem.0"):
        keep_in_float(graph, "three")
    assert float_layers(graph) == []
