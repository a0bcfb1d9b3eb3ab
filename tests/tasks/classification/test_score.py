"""Against SciPy, scikit-learn and plain loops."""

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from edgekd.errors import DataError
from edgekd.tasks.classification import score
from edgekd.tasks.classification.score import NO_CLASS, ClassPredictions, decode


def drawn(seed=0, n=500, classes=7):
    random = np.random.default_rng(seed)
    return 3 * random.normal(size=(n, classes)).astype(np.float32), random.integers(0, classes, n)


def test_the_largest_logit_and_its_probability():
    logits, _ = drawn()
    found = decode(logits)
    np.testing.assert_allclose(found.probabilities, softmax(logits.astype(float), 1), rtol=1e-12)
    assert (found.classes == logits.argmax(1)).all()
    assert decode(np.array([[1.0, 2.0, 2.0]])).classes == [1], "the first of equal ones"


def test_what_is_no_number_is_no_class():
    logits = np.array([[0, np.nan], [np.inf, 0], [0, 1], [-np.inf, 0]], np.float32)
    assert decode(logits).classes.tolist() == [NO_CLASS, NO_CLASS, 1, NO_CLASS]


def test_correct_by_scikit_learn():
    logits, classes = drawn()
    predictions = decode(logits)
    right = score.correct(predictions, {"classes": classes})
    assert right.mean() == pytest.approx(accuracy_score(classes, predictions.classes))
    known = classes % 3 > 0
    of_known = score.correct(predictions, {"classes": classes, "known": known})
    assert of_known.mean() == pytest.approx(accuracy_score(classes[known], predictions.classes[known]))
    matrix = confusion_matrix(classes, predictions.classes)
    assert score.correct_by_class(predictions.classes, classes, 7) == matrix.diagonal().tolist()


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_calibration_error_by_numpy(bins):
    logits, classes = drawn()
    probabilities = softmax(logits.astype(float), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == classes
    edges, expected = np.linspace(0, 1, bins + 1), 0.0
    for low, high in itertools.pairwise(edges):
        within = (confidence > low) & (confidence <= high)
        if within.any():
            expected += within.mean() * abs(right[within].mean() - confidence[within].mean())
    assert score.expected_calibration_error(decode(logits), classes, bins) == pytest.approx(expected, abs=1e-12)


def test_certain_predictions():
    """All confidence is 1: the error is the share of wrong ones."""
    logits = np.array([[1e4, 0]] * 4, np.float32)
    assert score.expected_calibration_error(decode(logits), np.array([0, 0, 0, 1])) == 0.25


def test_the_likelihood_by_scikit_learn_and_far_out():
    logits, classes = drawn()
    expected = log_loss(classes, softmax(logits.astype(float), 1))
    assert score.negative_log_likelihood(logits, classes) == pytest.approx(expected)
    assert score.negative_log_likelihood(100 * logits, classes) == pytest.approx(
        -log_softmax(100.0 * logits, 1)[np.arange(500), classes].mean()
    )


def test_confusions_that_grew():
    targets = np.array([0] * 6 + [1] * 4)
    before = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    after = np.array([1, 1, 1, 2, 0, 1, 2, 2, 2, 2])
    assert score.grown_confusions(targets, before, after) == [(0, 1, 1, 4), (1, 2, 2, 4)]
    assert score.grown_confusions(targets, before, after, least=1) == [(0, 1, 1, 4), (1, 2, 2, 4), (0, 2, 0, 1)]
    assert score.grown_confusions(targets, before, after, most=1) == [(0, 1, 1, 4)]


def test_classes_that_were_lost():
    assert score.lost_classes([100, 100, 0, 10], [90, 90, 0, 10], [87, 86, 0, 9]) == [1, 3]


def test_entries_are_ranked():
    logits = np.array([np.log([0.25, 0.5, 0.25]), [0, -np.inf, 0]])
    one, none = score.sample_predictions(decode(logits), ["ok", "scratch", "dent"], top=2)
    found = one.to_json()
    assert [each["label"] for each in found["top"]] == ["scratch", "ok"]
    assert (found["label"], found["probability"]) == ("scratch", pytest.approx(0.5))
    assert one.to_text() == "scratch 50.0 %, ok 25.0 %"
    assert one.to_cells() == {
        "label": "scratch",
        "probability": "0.500000",
        "label_2": "ok",
        "probability_2": "0.250000",
    }
    # As its report counts it: of an infinite logit nothing is predicted.
    assert none.to_json() == {"label": None, "probability": None, "top": []}
    assert none.to_cells() == dict.fromkeys(one.to_cells(), "")


def test_which_predictions_are_settled():
    logits = np.array([[3, 1, 0], [3, 2.5, -9]], np.float32)
    assert score.settled(logits, 1.0).tolist() == [True, False]
    assert score.settled(logits[:, :1], 1.0).tolist() == [True, True]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.zeros((3, 2), int), r"labels are int64 \(3, 2\), expected one integer for each sample"),
        (np.zeros(3), r"labels are float64 \(3,\), expected one integer"),
        (np.array([0, 5]), "labels are 0 to 5, and there are the classes 0 to 4"),
        (np.array([-1, 2]), "labels are -1 to 2, and"),
    ],
)
def test_targets_that_are_no_classes(targets, said):
    with pytest.raises(DataError, match=said):
        score.must_be_classes({"classes": targets}, 5)


def test_a_class_that_is_not_known_may_be_anything():
    score.must_be_classes({"classes": np.array([-1, 2]), "known": np.array([False, True])}, 5)


def test_classes_alone_have_no_confidence():
    with pytest.raises(DataError, match="decode the logits"):
        score.reliability(ClassPredictions(np.array([0])), np.array([0]))


def test_of_logits_that_are_not_finite_there_is_no_confidence():
    logits, classes = drawn(n=50)
    logits[3, 2], logits[7, 0] = np.nan, np.inf
    right = [place for place in range(50) if place not in (3, 7) and logits[place].argmax() == classes[place]]
    expected = [sum(classes[place] == each for place in right) for each in range(7)]
    assert score.details(logits, {"classes": classes}).to_json() == {"right_by_class": expected}
