"""Distillation of networks with several inputs and outputs."""

import pytest
import torch

from edgekd.distill import KD, PKT, Distillation, Ensemble, FitNet, Term
from edgekd.distill.feature_hooks import FeatureHooks, candidate_layers, feature_shapes, pair_layers
from edgekd.errors import TrainingError
from edgekd.train import Batch, CrossEntropy
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


def labelled():
    network, signature = image_and_text()
    inputs = batches(signature)[0]
    return network, signature, Batch(inputs, torch.randint(0, 4, (16,)), torch.arange(16))


def test_a_student_with_several_inputs_and_outputs_learns_from_a_teacher():
    (student, signature, batch), (teacher, _) = labelled(), image_and_text(width=24)
    terms = [
        Term("kd", KD(temperature=2.0)),
        Term("fitnet", FitNet([(32, 8, 8)], [(48, 8, 8)]), 0.5, [("conv2", "conv2")]),
        Term("features", PKT([(12,)], [(12,)]), pairs=[("feature", "feature")]),
    ]
    objective = Distillation(teacher, terms, hard_weight=0.5, signature=signature)
    before = {name: float(value) for name, value in objective.terms(student, batch).items()}
    assert set(before) == {"labels", "kd", "fitnet", "features"}
    optimizer = torch.optim.Adam([*student.parameters(), *objective.learned().parameters()], 0.003)
    for _ in range(20):
        optimizer.zero_grad()
        objective(student, batch).backward()
        optimizer.step()
    after = objective.terms(student, batch)
    assert sum(map(float, after.values())) < 0.9 * sum(before.values())


def test_an_ensemble_takes_what_its_teachers_take():
    class First(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, image, tokens):
            return self.network(image, tokens)[0]

    student, _, batch = labelled()
    ensemble = Ensemble([First(image_and_text(width=width)[0]) for width in (16, 24)])
    objective = Distillation(ensemble, KD())
    assert set(objective.terms(First(student), batch)) == {"labels", "teacher"}


def test_outputs_that_are_not_there():
    student, signature, batch = labelled()
    with pytest.raises(
        TrainingError, match="the loss 'teacher' compares the output 'logits', and the network gives out"
    ):
        Distillation(student, KD()).terms(student, batch)
    with pytest.raises(TrainingError, match="compares the output 'embeding', .*did you mean 'embedding'"):
        Distillation(student, [Term("x", KD(), output="embeding")], signature=signature).terms(student, batch)
    with pytest.raises(TrainingError, match="classification takes an output 'logits', and the network gives output_0"):
        CrossEntropy().terms(student, batch)
