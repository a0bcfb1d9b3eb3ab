"""Features of networks with several inputs and outputs."""

import torch

from edgekd.distill.feature_hooks import FeatureHooks, candidate_layers, feature_shapes, pair_layers
from tests.several_tensors import batches, image_and_text, tagger


def test_candidates_are_layers_of_both_branches_but_no_outputs():
    network, signature = image_and_text()
    found = {each.path: each.shape for each in candidate_layers(network, signature)}
    assert found["bn1"] == (16, 16, 16) and found["bn2"] == (32, 8, 8)
    assert "words" in found and "mix" in found
    assert not {"feature", "head"} & set(found)


def test_shapes_and_pairs():
    (student, signature), (teacher, _) = image_and_text(width=8), image_and_text(width=16)
    assert feature_shapes(student, ["conv2", "words"], signature) == [(16, 8, 8), (8, 3, 3)]
    assert ("bn2", "bn2") in pair_layers(student, teacher, signature)
    network, signature = tagger()
    with FeatureHooks(network, ["hidden"]) as hooks:
        network(*batches(signature)[1])
    assert hooks.read()["hidden"].shape == (16, 32, 1, 13)
    assert isinstance(network(*signature.example()), dict) and torch.is_grad_enabled()
