"""Against scikit-learn, with and without weights, and against torchmetrics."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from edgekd.errors import DataError
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.multilabel.evidence import AveragePrecision, average_precision, details, macro_f1
from edgekd.tasks.multilabel.score import decode
from tests.tasks.multilabel.drawn import drawn, partly

HALF = [0.5] * 6


def mean_average_precision(scores, targets, known, weights):
    """By scikit-learn, label by label."""
    found = []
    for label in range(targets.shape[1]):
        counted = known[:, label] & (weights > 0)
        if (targets[counted, label] == 1).any():
            truth, by = targets[counted, label] == 1, scores[counted, label]
            found.append(average_precision_score(truth, by, sample_weight=weights[counted]))
    return np.mean(found)


def mean_f1(predicted, targets, known, weights):
    found = []
    for label in range(targets.shape[1]):
        counted = known[:, label] & (weights > 0)
        if (targets[counted, label] == 1).any():
            truth, by = targets[counted, label] == 1, predicted[counted, label]
            found.append(f1_score(truth, by, sample_weight=weights[counted], zero_division=0))
    return np.mean(found)


def draws(n, count=4):
    random = np.random.default_rng(5)
    return np.stack([np.bincount(random.integers(n, size=n), minlength=n) for _ in range(count)]).astype(float)


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.01])
def test_both_by_scikit_learn(is_partial, share):
    logits, targets = drawn(share=share)
    given = partly(targets) if is_partial else {"labels": targets}
    known = given.get("known", np.ones_like(targets, bool))
    predictions = decode(logits, HALF)
    weights = np.vstack([np.ones(300), draws(300), np.random.default_rng(0).exponential(size=300)])
    expected = (
        (average_precision, [mean_average_precision(logits, given["labels"], known, each) for each in weights]),
        (macro_f1, [mean_f1(predictions.labels, given["labels"], known, each) for each in weights]),
    )
    for metric, values in expected:
        evidence = metric(predictions, given)
        np.testing.assert_allclose(evidence.values(weights), values, rtol=1e-9)
        assert evidence.value() == pytest.approx(values[0])


def test_averages_of_scikit_learn_itself():
    logits, targets = drawn()
    predictions = decode(logits, HALF)
    assert average_precision(predictions, {"labels": targets}).value() == pytest.approx(
        average_precision_score(targets, logits, average="macro")
    )
    assert macro_f1(predictions, {"labels": targets}).value() == pytest.approx(
        f1_score(targets, predictions.labels, average="macro")
    )


def test_both_by_torchmetrics():
    import torch
    from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

    logits, targets = drawn()
    ours, truth = decode(logits, HALF), torch.tensor(targets)
    scores, predicted = torch.tensor(ours.probabilities), torch.tensor(ours.labels).long()
    theirs = (
        MultilabelAveragePrecision(6, average="macro", thresholds=None)(scores, truth),
        MultilabelF1Score(6, average="macro")(predicted, truth),
    )
    for metric, expected in zip((average_precision, macro_f1), theirs, strict=True):
        assert metric(ours, {"labels": targets}).value() == pytest.approx(float(expected), rel=1e-6)


def test_by_hand():
    """Ranked 1 0 1: precision 1 at a recall of a half, 2/3 at all."""
    scores = np.array([[0.9], [0.8], [0.7]])
    labels = np.array([[True], [False], [True]])
    evidence = AveragePrecision(scores, labels, np.ones_like(labels))
    assert evidence.value() == pytest.approx((1 + 2 / 3) / 2)
    assert evidence.value(np.array([1, 2, 1])) == pytest.approx((1 + 2 / 4) / 2)
    tied = AveragePrecision(np.zeros((3, 1)), labels, np.ones_like(labels))
    assert tied.value() == pytest.approx(2 / 3), "what has one score is found together"


def test_a_label_that_no_sample_has_is_left_out():
    logits, targets = drawn()
    targets[:, 2] = 0
    others = [0, 1, 3, 4, 5]
    ours, fewer = decode(logits, HALF), decode(logits[:, others], HALF[:5])
    for metric in (average_precision, macro_f1):
        whole, part = metric(ours, {"labels": targets}), metric(fewer, {"labels": targets[:, others]})
        assert whole.value() == pytest.approx(part.value())


def test_details_are_what_the_means_are_of():
    logits, targets = drawn()
    targets[:, 2] = 0
    predictions = decode(logits, HALF)
    found = details(predictions, {"labels": targets})
    expected = average_precision_score(targets[:, 4], predictions.probabilities[:, 4])
    assert found.average_precision_by_label[4] == pytest.approx(expected)
    assert found.f1_by_label[4] == pytest.approx(f1_score(targets[:, 4], predictions.labels[:, 4]))
    for metric, values in zip((average_precision, macro_f1), found.to_json().values(), strict=True):
        assert values.pop(2) is None
        assert np.mean(values) == pytest.approx(metric(predictions, {"labels": targets}).value())


def test_no_label_at_all():
    logits, targets = drawn()
    for metric in (average_precision, macro_f1):
        with pytest.raises(DataError, match="no sample is known to have any label"):
            metric(decode(logits, HALF), {"labels": 0 * targets})


def test_what_is_no_number_comes_last():
    labels = np.array([[True], [False], [False]])
    scores = np.array([[np.nan], [0.2], [0.1]])
    assert AveragePrecision(scores, labels, np.ones_like(labels)).value() == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", Multilabel.metrics, ids=lambda metric: metric.name)
def test_evidence_is_made_again_from_its_arrays_and_joined(metric):
    logits, targets = drawn()
    evidence = metric.evidence(decode(logits, HALF), {"labels": targets})
    assert type(evidence)(**evidence.arrays()).value() == evidence.value()
    twice = evidence.joined(evidence)
    assert twice.n == 600 and twice.value() == pytest.approx(evidence.value())
