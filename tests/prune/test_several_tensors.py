"""Cuts of networks with several inputs and outputs."""

import torch
import torch.nn.functional as F
from torch import nn

from edgekd.models.signature import find_signature
from edgekd.models.size import count_macs, count_parameters
from edgekd.prune import Prunable, apply_plan, prune
from edgekd.prune.depth import residual_blocks
from edgekd.prune.latency import layers_of
from edgekd.prune.sensitivity import scan
from edgekd.prune.sparse import GroupNorm
from tests.several_tensors import VOCABULARY, batches, image_and_text, tagger


def test_outputs_keep_their_widths_and_a_new_network_follows_the_plan():
    network, signature = image_and_text()
    found = prune(network, signature, macs=0.5)
    assert count_macs(found.network, signature) <= 0.5 * count_macs(network, signature)
    for sample in batches(signature):
        before, after = (signature.named(each(*sample)) for each in (network, found.network))
        assert {name: each.shape for name, each in after.items()} == {name: each.shape for name, each in before.items()}
    again = apply_plan(image_and_text()[0], found.plan, signature)
    again.load_state_dict(found.network.state_dict())
    sample = batches(signature)[0]
    assert all(map(torch.equal, again(*sample), found.network(*sample)))


def test_an_output_that_other_layers_read_is_an_output():
    network, signature = image_and_text()
    found = Prunable(network, signature)
    assert "feature" not in found.roots and "head" not in found.roots
    assert {"conv1", "conv2", "mix", "project", "joint"} == set(found.roots)
    assert not found.unpruned


class Residual(nn.Module):
    """Its embedding has the channels of the layers that are added to it."""

    def __init__(self):
        super().__init__()
        self.words, self.first, self.second = nn.Embedding(VOCABULARY, 32), nn.Linear(32, 64), nn.Linear(64, 32)
        self.tag, self.whole = nn.Linear(32, 3), nn.Linear(32, 3)

    def forward(self, tokens):
        x = self.words(tokens)
        x = x + self.second(torch.relu(self.first(x)))
        return {"tags": self.tag(x), "mean": self.whole(x.mean(1))}


def test_an_embedding_loses_the_channels_of_what_is_added_to_it():
    torch.manual_seed(0)
    network = Residual().eval()
    signature = find_signature(network, torch.randint(0, VOCABULARY, (2, 7)), open={"input": {1: "length"}})
    assert set(Prunable(network, signature).roots) == {"first", "second"}
    found = prune(network, signature, params=0.5, ignore=("first",))
    assert found.network.words.embedding_dim == found.network.second.out_features < 32
    assert found.network.words.num_embeddings == VOCABULARY
    assert count_parameters(found.network) <= 0.5 * count_parameters(network)
    assert found.network(torch.zeros(2, 5, dtype=torch.int64))["tags"].shape == (2, 5, 3)


def test_multiply_accumulates_are_of_one_sample_at_the_example_s_length():
    network, signature = tagger(width=16, tags=5)
    assert count_macs(network, signature) == 9 * (16 * 32 + 32 * 5) + 32 * 2
    assert count_macs(network, signature.sized(length=3)) == 3 * (16 * 32 + 32 * 5) + 32 * 2
    assert {path: layer.macs for path, layer in layers_of(network, signature).items()}["hidden"] == 9 * 16 * 32


def test_importances_with_gradients_take_batches_of_several_tensors():
    network, signature = image_and_text()
    labelled = [(inputs, torch.randint(0, 4, (16,))) for inputs in batches(signature)]

    def loss(outputs, labels):
        return F.cross_entropy(outputs[0], labels)

    for importance in ("taylor", "fisher"):
        found = Prunable(network, signature, importance=importance, batches=labelled, loss=loss)
        assert all(group.scores.isfinite().all() and group.scores.any() for group in found.groups)


def test_the_scan_of_sensitivity_estimates_batchnorm_anew(tmp_path):
    network, signature = image_and_text()
    samples = batches(signature)

    def score(cut):
        with torch.no_grad():
            return -float((cut(*samples[0])[0] - network(*samples[0])[0]).abs().mean())

    options = {"ratios": (0.5,), "batches": samples, "cache": tmp_path}
    first = scan(network, signature, score, **options)
    assert len(first) == 5 and all(each.cuts[0].score < 0 for each in first)
    assert scan(network, signature, score, **options) == first
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_sparse_learning_and_blocks():
    network, signature = image_and_text()
    regulariser = GroupNorm(network, signature)
    sum(each.sum() for each in network(*batches(signature)[0])).backward()
    regulariser.step()
    assert set(regulariser.norms()) == {"conv1", "conv2", "mix", "project", "joint"}
    assert residual_blocks(network, signature) == []


class Choosing(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x):
        scores = self.head(torch.relu(self.hidden(x)))
        return {"scores": scores, "best": scores.argmax(1), "sure": scores.amax(1) > 0.5}


def test_outputs_of_whole_numbers_and_truth_values():
    torch.manual_seed(0)
    network = Choosing().eval()
    signature = find_signature(network, torch.rand(2, 16))
    assert [each.dtype for each in signature.outputs] == ["float32", "int64", "bool"]
    found = prune(network, signature, macs=0.5)
    assert found.network.hidden.out_features == 16
