"""Class by class, against scikit-learn's confusion matrices."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from edgekd.pipeline.confusion import LEAST_GROWTH, NamedPredictions, by_class


def answers(labels, seed, wrong):
    """Those of a network that is wrong on a share of the samples."""
    random = np.random.default_rng(seed)
    return np.where(random.random(len(labels)) < wrong, random.integers(labels.max() + 1, size=len(labels)), labels)


@pytest.mark.parametrize(("classes", "n"), [(3, 200), (10, 2000), (200, 4000)])
def test_the_figures_are_those_of_two_confusion_matrices(classes, n):
    labels = np.random.default_rng(classes).permutation(np.arange(n) % classes).astype(np.int32)
    before, after = answers(labels, 1, 0.1), answers(labels, 2, 0.4)
    names = [f"class {number}" for number in range(classes)]
    found = by_class(
        labels, NamedPredictions("teacher", before), NamedPredictions("student", after), names, "onnxruntime"
    )
    was, now = (confusion_matrix(labels, each, labels=range(classes)) for each in (before, after))
    assert [each.name for each in found.classes] == names
    assert [each.n for each in found.classes] == was.sum(1).tolist()
    assert [each.right_before for each in found.classes] == was.diagonal().tolist()
    assert [each.right_after for each in found.classes] == now.diagonal().tolist()
    growth = now - was
    np.fill_diagonal(growth, 0)
    worst = np.sort(growth[growth >= LEAST_GROWTH])[::-1][:10].tolist()
    assert [each.after - each.before for each in found.confusions] == worst
    for each in found.confusions:
        place = names.index(each.label), names.index(each.answered)
        assert (each.before, each.after) == (was[place], now[place])


def test_one_answer_more_is_no_growth_and_equal_growth_has_an_order():
    labels = np.array([0] * 9)
    before, after = np.array([0, 0, 0, 0, 0, 0, 0, 0, 2]), np.array([0, 1, 2, 2, 2, 3, 3, 3, 2])
    found = by_class(labels, NamedPredictions("a", before), NamedPredictions("b", after), list("wxyz"), "onnxruntime")
    assert [(each.answered, each.before, each.after) for each in found.confusions] == [("y", 1, 4), ("z", 0, 3)]


def test_a_class_without_samples_has_none_right():
    labels, right = np.array([0, 2]), NamedPredictions("a", np.array([0, 2]))
    found = by_class(labels, right, right, ["a", "b", "c"], "onnxruntime")
    assert [(each.n, each.right_before, each.right_after) for each in found.classes] == [
        (1, 1, 1),
        (0, 0, 0),
        (1, 1, 1),
    ]
    assert found.confusions == ()
