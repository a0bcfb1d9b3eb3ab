"""Label by label, against scikit-learn's average precision."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.multilabel.by_label import ByLabel, by_label
from tests.tasks.multilabel.drawn import drawn

NAMES = tuple("abcdef")


def compared(before, after, targets) -> ByLabel:
    decode = Multilabel(NAMES).decode
    named = [
        NamedPredictions(network, decode({"logits": logits}))
        for network, logits in (("teacher", before), ("student", after))
    ]
    return by_label(*named, {"labels": targets}, NAMES, "onnxruntime")


def worse(logits, label=2):
    """The logits with one label's mixed up."""
    found = logits.copy()
    found[:, label] = np.random.default_rng(3).permutation(found[:, label])
    return found


def test_the_figures_are_those_of_scikit_learn():
    logits, targets = drawn(share=0.2)
    found = compared(logits, worse(logits), targets)
    assert [each.name for each in found.labels] == list(NAMES)
    assert [each.n for each in found.labels] == targets.sum(0).tolist()
    for number, each in enumerate(found.labels):
        expected = [average_precision_score(targets[:, number], by[:, number]) for by in (logits, worse(logits))]
        assert [each.precision_before, each.precision_after] == pytest.approx(expected)


def test_the_label_that_is_lost_is_named():
    logits, targets = drawn(share=0.2)
    found = compared(logits, worse(logits), targets)
    [lost] = found.lost()
    assert lost.code == "label_lost"
    assert lost.message.startswith("student has an average precision of ")
    assert f"for label 'c' and the teacher {found.labels[2].precision_before:.1%}, on " in lost.message
    assert compared(logits, logits, targets).lost() == []


def test_a_label_that_no_sample_has_is_not_shown():
    logits, targets = drawn(share=0.2)
    targets[:, 1] = 0
    found = compared(logits, worse(logits), targets)
    assert (found.labels[1].n, found.labels[1].precision_before) == (0, None)
    panel = found.panel()
    assert panel.groups[0].name == "c"
    assert "b" not in [each.name for each in panel.groups]
    assert panel.sentences[0] == "Of 5 labels 1 lost average precision from teacher to student and 0 gained."
    assert panel.short.startswith(f"{panel.sentences[0]} Most lost: c, ")


def test_it_is_read_as_it_was_written():
    logits, targets = drawn(share=0.2)
    found = compared(logits, worse(logits), targets)
    assert Multilabel.breakdown_from_json(found.to_json()) == found
