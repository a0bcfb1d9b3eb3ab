"""The task computes what the rooms that still do it themselves compute."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.bundle.golden import Golden
from edgekd.bundle.predict import softmax
from edgekd.errors import ModelError
from edgekd.export import parity
from edgekd.pipeline.confusion import NamedPredictions, by_class
from edgekd.pipeline.evaluation import FileRecord
from edgekd.tasks.classification import Classification, score
from edgekd.tasks.compare import compare
from edgekd.tasks.metric import Correct
from edgekd.train import quality

N, CLASSES = 1000, 10
TASK = Classification(tuple(map(str, range(CLASSES))))


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, CLASSES, (N,), generator=generator)
    logits = torch.randn(2, N, CLASSES, generator=generator)
    logits[:, torch.arange(N), labels] += 2
    return *logits, labels


def test_predictions_and_what_is_correct_to_the_bit(drawn):
    logits, _, labels = drawn
    predictions = TASK.decode({"logits": logits.numpy()})
    assert (predictions.classes == logits.argmax(1).numpy()).all()
    [accuracy] = TASK.metrics
    right = logits.argmax(1) == labels
    evidence = accuracy.evidence(predictions, {"classes": labels.numpy()})
    assert evidence.value() == int(right.sum()) / N
    assert score.correct_by_class(predictions.classes, labels.numpy(), CLASSES) == quality.correct_by_class(
        logits, labels, CLASSES
    )


def test_confidence_but_for_the_last_bits_of_exponentials(drawn):
    logits, _, labels = drawn
    predictions, classes = TASK.decode({"logits": logits.numpy()}), labels.numpy()
    ours, theirs = score.reliability(predictions, classes), quality.reliability(logits, labels)
    assert [(each.n, each.accuracy) for each in ours] == [(each.n, each.accuracy) for each in theirs]
    assert [each.confidence for each in ours] == pytest.approx([each.confidence for each in theirs], rel=1e-14)
    ours_and_theirs = (
        (score.expected_calibration_error(predictions, classes), quality.expected_calibration_error(logits, labels)),
        (score.negative_log_likelihood(logits.numpy(), classes), quality.negative_log_likelihood(logits, labels)),
    )
    for found, expected in ours_and_theirs:
        assert found == pytest.approx(expected, rel=1e-12)


def test_details_have_the_keys_of_a_files_record(drawn):
    logits, _, labels = drawn
    found = TASK.details({"logits": logits.numpy()}, {"classes": labels.numpy()})
    assert set(found) <= {field.name for field in dataclasses.fields(FileRecord)}
    assert found["right_by_class"] == quality.correct_by_class(logits, labels, CLASSES)
    known = labels % 2 == 0
    some = TASK.details({"logits": logits.numpy()}, {"classes": labels.numpy(), "known": known.numpy()})
    assert some == TASK.details({"logits": logits[known].numpy()}, {"classes": labels[known].numpy()})


def test_the_bins_of_given_probabilities_to_the_bit(drawn):
    logits, _, labels = drawn
    probabilities = logits.double().softmax(1).numpy()
    predictions = score.ClassPredictions(logits.argmax(1).numpy(), probabilities)
    ours, theirs = score.reliability(predictions, labels.numpy()), quality.reliability(logits, labels)
    assert list(map(tuple, ours)) == list(map(tuple, theirs))
    assert score.expected_calibration_error(predictions, labels.numpy()) == quality.expected_calibration_error(
        logits, labels
    )


def test_classes_and_confusions_of_a_report(drawn):
    before, after, labels = (each.numpy() for each in drawn)
    was, now = before.argmax(1), after.argmax(1)
    expected = by_class(labels, NamedPredictions("a", was), NamedPredictions("b", now), TASK.names, "onnxruntime")
    assert [each.right_after for each in expected.classes] == score.correct_by_class(now, labels, CLASSES)
    assert [(int(each.label), int(each.answered), each.before, each.after) for each in expected.confusions] == [
        tuple(each) for each in score.grown_confusions(labels, was, now)
    ]


def test_a_bundles_probabilities_and_self_test_to_the_bit(drawn):
    logits = drawn[0].numpy()
    assert (TASK.decode({"logits": logits}).probabilities == softmax(logits)).all()
    moved = logits + np.random.default_rng(0).normal(0, 0.3, logits.shape).astype(np.float32)
    judged = Golden(logits, logits, step=0.1, steps=12.0).judge(moved)
    clear = TASK.settled({"logits": logits}, 1.2)
    same = TASK.agree(*(TASK.decode({"logits": each}) for each in (moved, logits)))
    assert (int(clear.sum()), int(same[clear].sum())) == (judged.judged, judged.same_class)
    assert parity(torch.tensor(logits), torch.tensor(moved)).agreement == same.mean()


def test_the_refusal_of_probabilities(drawn):
    from edgekd.pipeline.network_check import _probabilities

    for form in (lambda x: x.softmax(1), lambda x: x.log_softmax(1), lambda x: x.sigmoid()):
        with pytest.raises(ModelError, match=_probabilities(form(drawn[0]))):
            TASK.check_outputs({"logits": form(drawn[0])}, str(Path("net.py")))


def test_a_gates_comparison(drawn):
    from edgekd.stats.paired import drop

    before, after, labels = drawn
    right = [(each.argmax(1) == labels).tolist() for each in (before, after)]
    found, expected = compare(TASK.metrics[0], *map(Correct, right)), drop(*right)
    assert (found.drop, found.lower, found.upper, found.p, found.lost, found.won) == (
        *(expected.value, expected.at_least, expected.at_most, expected.p, expected.lost, expected.won),
    )
