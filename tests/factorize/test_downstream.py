"""What comes behind a factorisation, and before it: pruning, quantisation, export and the network on disk."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgekd.artifact import fill, tensors_of
from edgekd.errors import ModelError
from edgekd.export import export_onnx, runtime_logits
from edgekd.factorize import Factorized, apply_plan, factorize
from edgekd.models import count_macs
from edgekd.models.batchnorm import reestimate
from edgekd.preprocess import Preprocess
from edgekd.prune import Prunable, prune, widths
from edgekd.prune import apply_plan as apply_cuts
from edgekd.quantize import convert, observe, prepare
from edgekd.quantize.files import export_runtime
from edgekd.train import metric_of
from edgekd.train.device import lay_out
from tests.factorize.networks import Mobile, Residual

IMAGE = (3, 16, 16)
PREPROCESS = Preprocess("image", IMAGE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NETWORKS = {"residual": Residual, "mobile": Mobile}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(16, *IMAGE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def made(name: str, images: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    reestimate(network, [images])
    return network.eval()


def factorized(name: str, images: torch.Tensor, **settings: object) -> Factorized:
    found = factorize(made(name, images), IMAGE, **{"macs": 0.6, "round_to": 4, **settings})
    reestimate(found.network, [images])
    return found


def reload(network: nn.Module, fresh: nn.Module) -> nn.Module:
    """Fill a freshly built structure as a network on disk is."""
    saved = {name: value.detach().clone().contiguous() for name, value in tensors_of(network).items()}
    fill(fresh, saved)
    return lay_out(fresh).eval()


def assert_equal(ours: nn.Module, theirs: nn.Module, images: torch.Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(lay_out(ours).eval()(images), theirs(images))


def test_inner_ranks_are_pruned_and_both_plans_reload(name, images):
    found = factorized(name, images)
    prunable = Prunable(found.network, IMAGE, round_to=2)
    inner = {f"{layer.path}.0" for layer in found.layers}
    assert inner & {*prunable.roots}
    halves = [
        len(group.scores) // 2 if root in inner else len(group.scores)
        for root, group in zip(prunable.roots, prunable.groups, strict=True)
    ]
    network, plan = prunable.cut(halves)
    ours, theirs = widths(network), widths(found.network)
    cut = {path for path in ours if ours[path] < theirs[path]}
    assert cut >= inner & {*prunable.roots}
    fresh = apply_plan(NETWORKS[name](), json.loads(json.dumps(found.plan)))
    apply_cuts(fresh, json.loads(json.dumps(plan)), IMAGE)
    assert_equal(network, reload(network, fresh), images)


def test_a_factorised_network_is_pruned_to_a_share(name, images):
    found = factorized(name, images)
    pruned = prune(found.network, IMAGE, macs=0.6, round_to=2)
    assert pruned.share <= 0.6
    fresh = apply_cuts(apply_plan(NETWORKS[name](), found.plan), pruned.plan, IMAGE)
    assert_equal(pruned.network, reload(pruned.network, fresh), images)


def test_a_pruned_network_is_factorised_and_both_plans_reload(name, images):
    pruned = prune(made(name, images), IMAGE, macs=0.7, round_to=4)
    found = factorize(pruned.network, IMAGE, macs=0.7, round_to=2)
    assert found.share <= 0.7
    assert count_macs(found.network, IMAGE) <= 0.49 * count_macs(made(name, images), IMAGE)
    fresh = apply_cuts(NETWORKS[name](), pruned.plan, IMAGE)
    apply_plan(fresh, found.plan)
    assert_equal(found.network, reload(found.network, fresh), images)


def test_factors_are_layers_that_can_be_factorised(name, images):
    first = factorized(name, images, macs=0.8)
    second = factorize(first.network, IMAGE, macs=0.95, round_to=1)
    fresh = apply_plan(apply_plan(NETWORKS[name](), first.plan), second.plan)
    assert_equal(second.network, reload(second.network, fresh), images)


def test_the_file_gives_what_the_network_does(name, images, tmp_path):
    network = factorized(name, images).network
    file = export_onnx(network, tmp_path / "model.onnx", PREPROCESS)
    with torch.no_grad():
        torch.testing.assert_close(runtime_logits(file, [images]), network(images), rtol=1e-3, atol=1e-4)
    operators = [node.op_type for node in onnx.load(file).graph.node]
    assert "BatchNormalization" not in operators, "folded into the last factor"


def test_quantisation_aware_training_goes_on(name, images, tmp_path: Path):
    network = factorized(name, images).network
    graph = prepare(network, IMAGE)
    with torch.no_grad():
        graph(images)
        exact = network(images)
    optimiser = torch.optim.SGD(graph.parameters(), lr=0.01)
    labels = exact.argmax(1)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(graph(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    observe(graph, False)
    with torch.no_grad():
        simulated = graph(images)
        converted = convert(graph)(images)
    assert (converted - simulated).abs().max() < 0.05 * (exact.max() - exact.min())
    file = export_runtime(graph, tmp_path / "int8.onnx", PREPROCESS, "onnxruntime-x86", trained="onnxruntime-x86")
    assert (runtime_logits(file, [images]) - simulated).abs().max() < 0.1 * (exact.max() - exact.min())
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(file).graph.node)


def test_what_cannot_be_reached_by_pruning_is_an_error_and_no_crash(name, images):
    found = factorized(name, images)
    with pytest.raises(ModelError, match="^pruning cannot reach 1% of the MACs"):
        prune(found.network, IMAGE, macs=0.01)


def test_factors_of_a_trained_network_answer_alike(digits, trained):
    """Without any training behind it: most of the energy of trained weights is in few directions."""
    found = factorize(trained, digits.input_shape, energy=0.85, round_to=1)
    before, after = (metric_of(each, digits, digits.validation) for each in (trained, found.network))
    assert found.share < 0.75
    assert after > before - 0.1
