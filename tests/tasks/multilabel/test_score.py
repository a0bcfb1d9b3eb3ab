"""Against SciPy, scikit-learn and plain loops."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score

from edgekd.errors import DataError
from edgekd.tasks.multilabel import score
from tests.tasks.multilabel.drawn import drawn, partly


def test_probabilities_by_scipy_and_far_out():
    logits = np.array([[-800.0, -3, 0, 3, 800]], np.float32)
    np.testing.assert_allclose(score.sigmoid(logits), expit(logits.astype(float)), rtol=1e-12)


def test_each_label_has_its_threshold():
    found = score.decode(np.array([[0.0, 0.0], [2.0, np.nan]]), [0.5, 0.6])
    assert found.labels.tolist() == [[True, False], [True, False]]


def test_thresholds_are_the_best_of_all_that_there_are():
    logits, targets = drawn(n=80, labels=3)
    partial = partly(targets)
    probabilities = score.sigmoid(logits)
    chosen = score.best_thresholds(probabilities, partial)
    for label, threshold in enumerate(chosen):
        known = partial["known"][:, label]
        scores, truth = probabilities[known, label], targets[known, label]
        best = max(f1_score(truth, scores >= each) for each in np.unique(scores))
        assert f1_score(truth, scores >= threshold) == pytest.approx(best)
        assert threshold not in scores


def test_a_threshold_keeps_away_from_the_probabilities_that_it_separates():
    probabilities, labels = np.array([[0.9], [0.7], [0.3], [0.1]]), np.array([[1], [1], [0], [0]])
    assert score.best_thresholds(probabilities, {"labels": labels}) == pytest.approx([0.5])
    assert score.best_thresholds(probabilities, {"labels": 0 * labels}) == [0.5], "nothing to choose by"
    assert score.best_thresholds(probabilities, {"labels": labels**0}) == pytest.approx([0.05]), "all have it"


def test_no_threshold_finds_what_has_no_probability():
    probabilities, labels = np.array([[np.nan], [0.8], [0.4], [0.2]]), np.array([[1], [1], [0], [0]])
    assert score.best_thresholds(probabilities, {"labels": labels}) == pytest.approx([0.6])
    for nothing in (np.nan, 0.0):
        assert score.best_thresholds(np.full((4, 1), nothing), {"labels": labels}) == [0.5]


def test_of_equally_good_thresholds_the_one_near_a_half():
    probabilities = np.array([[0.9], [0.6], [0.45], [0.2]])
    labels = np.array([[1], [0], [1], [0]])
    found = [f1_score(labels, probabilities >= each) for each in (0.75, 0.325)]
    assert found == pytest.approx([2 / 3, 0.8])
    assert score.best_thresholds(probabilities, {"labels": labels}) == pytest.approx([0.325])
    labels = np.array([[1], [0], [0], [1]])
    equal = [f1_score(labels, probabilities >= each) for each in (0.75, 0.1)]
    assert equal == pytest.approx([2 / 3, 2 / 3])
    assert score.best_thresholds(probabilities, {"labels": labels}) == pytest.approx([0.75])


def test_which_labels_no_sample_has():
    assert score.without_positives({"labels": np.array([[1, 0, 0], [1, 0, 0]])}) == [1, 2]
    known = np.array([[True, True, True], [True, False, True]])
    assert score.without_positives({"labels": np.array([[1, 0, 1], [0, 1, 0]]), "known": known}) == [1]


def test_which_predictions_are_settled():
    logits = np.array([[2.0, -2.0], [0.4, 3.0], [3.0, -1.8]])
    assert score.settled(logits, [0.5, 0.1], 0.5).tolist() == [False, False, False]
    assert score.settled(logits, [0.5, 0.5], 0.5).tolist() == [True, False, True]
    boundary = np.log(0.1 / 0.9)
    assert score.settled(np.array([[9, boundary + 0.6]]), [0.5, 0.1], 0.5).tolist() == [True]


def test_entries():
    predictions = score.decode(np.array([[2.0, -1.0, 1.0], [-1.0, -2.0, np.nan]]), [0.5] * 3)
    one, other = score.sample_predictions(predictions, ["cat", "dog", "car"], top=2)
    found = one.to_json()
    assert found["labels"] == ["cat", "car"]
    assert found["top"] == [
        {"label": "cat", "probability": pytest.approx(expit(2))},
        {"label": "car", "probability": pytest.approx(expit(1))},
    ]
    assert one.to_text() == "cat, car (cat 88.1 %, car 73.1 %)"
    assert one.to_cells() == {
        **{"labels": "cat|car", "label": "cat", "probability": "0.880797"},
        **{"label_2": "car", "probability_2": "0.731059"},
    }
    assert other.to_text() == "no label (cat 26.9 %, dog 11.9 %)", "what is no number is no label"


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"labels": np.zeros(3, int)}, r"labels are of shape \(3,\), known ones \(3,\); expected a 0 or 1 for each"),
        ({"labels": np.zeros((3, 2), int)}, r"shape \(3, 2\).*each of 4 labels"),
        ({"labels": np.full((3, 4), 2)}, r"labels are \[2\] in places, expected 0 or 1: .*say so in 'known'"),
        ({"labels": np.full((3, 4), -1)}, r"labels are \[-1\] in places"),
        ({"labels": np.zeros((3, 4)), "known": np.ones((3, 1), bool)}, r"known ones \(3, 1\)"),
        ({"labels": np.zeros((3, 4)), "known": np.ones((3, 4))}, "known is float64, expected bool"),
    ],
)
def test_targets_that_are_no_labels(targets, said):
    with pytest.raises(DataError, match=said):
        score.must_be_labels(targets, 4)


def test_a_label_that_is_not_known_may_be_anything():
    score.must_be_labels(partly(drawn()[1]), 6)
