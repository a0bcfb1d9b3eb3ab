"""Class by class, against scikit-learn's confusion matrices."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.classification.by_class import LEAST_GROWTH, ByClass, by_class
from edgekd.tasks.classification.score import ClassPredictions


def compared(labels, before, after, names) -> ByClass:
    named = (
        NamedPredictions(*each)
        for each in (("teacher", ClassPredictions(before)), ("student", ClassPredictions(after)))
    )
    return by_class(*named, {"classes": labels}, names, "onnxruntime")


def answers(labels, seed, wrong):
    """Draw the predictions of a network that is wrong on a share of the samples."""
    random = np.random.default_rng(seed)
    return np.where(random.random(len(labels)) < wrong, random.integers(labels.max() + 1, size=len(labels)), labels)


@pytest.mark.parametrize(("classes", "n"), [(3, 200), (10, 2000), (200, 4000)])
def test_the_figures_are_those_of_two_confusion_matrices(classes, n):
    labels = np.random.default_rng(classes).permutation(np.arange(n) % classes).astype(np.int32)
    before, after = answers(labels, 1, 0.1), answers(labels, 2, 0.4)
    names = [f"class {number}" for number in range(classes)]
    found = compared(labels, before, after, names)
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
    found = compared(labels, before, after, list("wxyz"))
    assert [(each.answered, each.before, each.after) for each in found.confusions] == [("y", 1, 4), ("z", 0, 3)]


def test_a_class_without_samples_has_none_right():
    labels = np.array([0, 2])
    found = compared(labels, labels, labels, ["a", "b", "c"])
    assert [(each.n, each.right_before, each.right_after) for each in found.classes] == [
        (1, 1, 1),
        (0, 0, 0),
        (1, 1, 1),
    ]
    assert found.confusions == ()


def test_outputs_that_are_no_numbers_are_no_class():
    labels, before = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = compared(labels, before, np.array([-1, -1, 1]), ["a", "b"])
    assert [(each.label, each.answered, each.after) for each in found.confusions] == [("a", "no class", 2)]


def test_a_class_is_lost_by_more_than_three_points():
    labels = np.repeat([0, 1], 100)
    after = np.where(np.arange(200) % 100 < 4, 1 - labels, labels)
    after[100] = 1
    found = compared(labels, labels, after, ["a", "b"]).lost()
    assert [each.code for each in found] == ["class_lost"]
    assert found[0].message == (
        "student predicts 96.0% of class 'a' correctly and the teacher 100.0%, on 100 test samples"
    )


def test_it_is_read_as_it_was_written():
    labels = np.array([0, 0, 1, 1])
    found = compared(labels, labels, np.array([1, 1, 1, 1]), ["a", "b"])
    assert ByClass.from_json(found.to_json()) == found
