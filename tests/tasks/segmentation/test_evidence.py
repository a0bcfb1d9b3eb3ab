import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

from edgekd.errors import DataError
from edgekd.tasks.compare import compare, interval
from edgekd.tasks.metric import evidence_for
from edgekd.tasks.segmentation import Segmentation, evidence
from edgekd.tasks.segmentation.evidence import MeanIoU
from tests.tasks.segmentation.drawn import CLASSES, drawn, partly

TASK = Segmentation(tuple("abcd"))
MIOU, DICE, BOUNDARY = TASK.metrics


def predicted(logits: np.ndarray):
    return TASK.decode({"logits": logits})


def by_torchmetrics(kind, masks: np.ndarray, logits: np.ndarray, **args) -> float:
    metric = kind(CLASSES, ignore_index=255, **args)
    metric.update(torch.from_numpy(logits.argmax(1)), torch.from_numpy(masks.astype(np.int64)))
    return float(metric.compute())


def without_a_class(masks):
    return np.where(masks == 3, 0, masks)  # which is predicted, and never there


@pytest.mark.parametrize("change", [lambda masks: masks, partly, without_a_class])
def test_mean_iou_and_dice_are_those_of_torchmetrics(change):
    masks, logits = drawn()
    masks = change(masks).astype(np.uint8)
    found = [metric.evidence(predicted(logits), TASK.targets(masks)).value() for metric in (MIOU, DICE)]
    assert found[0] == pytest.approx(by_torchmetrics(MulticlassJaccardIndex, masks, logits), abs=1e-6)
    assert found[1] == pytest.approx(by_torchmetrics(MulticlassF1Score, masks, logits), abs=1e-6)


def test_masks_are_compared_once_for_both(monkeypatch):
    masks, logits = drawn()
    asked, confusions = [], evidence.confusions
    monkeypatch.setattr(evidence, "confusions", lambda *both: asked.append(both) or confusions(*both))
    found = evidence_for(TASK.metrics, predicted(logits), TASK.targets(masks))
    assert len(asked) == 1
    alone = {metric.name: metric.evidence(predicted(logits), TASK.targets(masks)).value() for metric in TASK.metrics}
    assert {name: each.value() for name, each in found.items()} == alone


def test_a_class_in_no_mask_is_left_out():
    masks, logits = drawn()
    masks[masks == 3], logits[:, 3] = 0, -9
    found = MIOU.evidence(predicted(logits), TASK.targets(masks))
    by_class = found.by_class(np.ones((1, found.n)))[0]
    assert np.isnan(by_class[3]) and found.value() == pytest.approx(np.nanmean(by_class))
    assert found.value() == pytest.approx(by_torchmetrics(MulticlassJaccardIndex, masks, logits), abs=1e-6)
    [said] = TASK.warnings(TASK.targets(masks))
    assert said.startswith("no pixel is known to be 'd': mean IoU")


def test_weights_are_copies_of_images():
    """The set's metric for any weights: that of a set with each image as often."""
    masks, logits = drawn(12)
    weights = np.random.default_rng(3).integers(0, 4, 12)
    again = np.repeat(np.arange(12), weights)
    for metric in TASK.metrics:
        whole, drawn_again = (
            metric.evidence(predicted(logits[each]), TASK.targets(masks[each])) for each in (np.arange(12), again)
        )
        assert whole.value(weights) == pytest.approx(drawn_again.value())
        assert whole.values(np.stack([np.ones(12), weights]))[0] == pytest.approx(whole.value())


def test_it_is_no_mean_of_images():
    masks = np.zeros((2, 2, 2), np.uint8)
    masks[0] = 1
    answers = masks.copy()
    answers[1, 0, 0] = 1
    logits = (answers[:, None] == np.arange(2)[:, None, None]).astype(np.float32)
    task = Segmentation(("a", "b"))
    value = MIOU.evidence(task.decode({"logits": logits}), task.targets(masks)).value()
    assert value == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_what_is_not_finite_is_never_right():
    masks, logits = drawn(4, noise=0)
    logits[0, 1] = np.nan
    rows = TASK.to_rows({"logits": logits})
    assert not TASK.is_finite(rows) and TASK.is_finite(rows[1:])
    whole, less = (
        DICE.evidence(TASK.from_rows(rows[part]), TASK.targets(masks[part])).value()
        for part in (slice(0, 4), slice(1, 4))
    )
    assert whole < less == 1
    # A device sends -1 for such a position.
    sent = np.where(np.isfinite(logits).all(1), logits.argmax(1), -1).astype(np.int32)
    assert (TASK.from_rows(sent).classes == TASK.from_rows(rows).classes).all()


def test_smaller_predictions_are_enlarged():
    masks, logits = drawn(6, noise=0)
    half = logits[:, :, ::2, ::2]
    found = MIOU.evidence(predicted(half), TASK.targets(masks)).value()
    enlarged = MIOU.evidence(predicted(half.repeat(2, 2).repeat(2, 3)), TASK.targets(masks)).value()
    assert found == enlarged > 0.6


def test_boundaries_by_hand():
    """An edge between two classes that lies one pixel beside the true one is near, three pixels beside it is not."""
    task = Segmentation(("a", "b"))
    mask = np.zeros((1, 12, 12), np.uint8)
    mask[:, :, 6:] = 1
    values = []
    for shift in (0, 1, 4):
        answer = np.roll(mask, -shift, 2)
        answer[:, :, 12 - shift :] = 1
        logits = (answer[:, None] == np.arange(2)[:, None, None]).astype(np.float32)
        values.append(task.metrics[2].evidence(task.decode({"logits": logits}), task.targets(mask)).value())
    assert values == [1, 1, 0]
    # Where the truth is not known there is no boundary.
    hidden = np.where(np.arange(12)[None, None] // 2 == 3, 255, mask).astype(np.uint8)
    evidence = task.metrics[2].evidence(task.decode({"logits": logits}), task.targets(hidden))
    assert not evidence.actual.any()


@pytest.mark.parametrize("size", [(2, 500), (500, 3), (1, 300)])
def test_boundaries_of_masks_that_are_flatter_than_what_is_near(size):
    """Against the distance of each pair of boundary pixels; 0.75 % of the diagonal is more than the height."""
    random = np.random.default_rng(0)
    mask, answer = random.integers(0, 2, (2, 1, *size)).astype(np.uint8)
    far = np.zeros((1, *size), np.uint8)
    far[:, -1, -1] = 1
    for truth, found in ((mask, answer), (far, far[:, ::-1, ::-1])):
        logits = (found[:, None] == np.arange(2)[:, None, None]).astype(np.float32)
        task = Segmentation(("a", "b"))
        ours = task.metrics[2].evidence(task.decode({"logits": logits}), task.targets(truth))
        for kind in (0, 1):
            edges = [edge_of(each[0]) & (each[0] == kind) for each in (found, truth)]
            places = [np.argwhere(each) for each in edges]
            apart = np.hypot(*(places[0][:, None] - places[1][None]).transpose(2, 0, 1))
            reach = max(1, round(0.0075 * np.hypot(*size)))
            near = [(apart.min(axis, initial=np.inf) <= reach).sum() for axis in (1, 0)]
            assert [ours.predicted[0, kind], ours.actual[0, kind]] == list(map(len, places))
            assert [ours.predicted_near[0, kind], ours.actual_near[0, kind]] == near


def edge_of(mask: np.ndarray) -> np.ndarray:
    """Which pixels have one of four neighbours of another class."""
    padded = np.pad(mask, 1, mode="edge")
    shifted = (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1])
    return np.any([each != mask for each in shifted], axis=0)


def test_evidence_that_is_none():
    counts = np.ones((3, 2), int)
    with pytest.raises(DataError, match="counts \\(N, classes\\)"):
        MeanIoU(counts, counts, counts[:, :1])


def test_a_planted_loss_is_found_and_an_unchanged_network_is_not():
    """Two points of mean IoU, a class that is predicted no longer, and the noise of another kernel: 60 images."""
    masks, logits = drawn(60)
    targets, random = TASK.targets(masks), np.random.default_rng(5)
    before = MIOU.evidence(predicted(logits), targets)
    rounded = logits + random.normal(0, 0.01, logits.shape)
    assert not compare(MIOU, before, MIOU.evidence(predicted(rounded), targets), 0.99).is_worse
    worse = logits + random.normal(0, 0.45, logits.shape)
    found = compare(MIOU, before, MIOU.evidence(predicted(worse), targets), 0.99)
    assert 0.015 < found.drop < 0.06 and found.is_worse
    dead = logits.copy()
    dead[:, 2] = -9
    assert compare(MIOU, before, MIOU.evidence(predicted(dead), targets), 0.99).lower > 0.1
    low, high = interval(MIOU, before)
    assert low < before.value() < high


def test_how_often_the_gate_is_wrong():
    """Both networks' predictions are swapped image by image at random: none is worse, and few comparisons say so."""
    masks, logits = drawn(150)
    other = logits + np.random.default_rng(9).normal(0, 0.3, logits.shape)
    ours, theirs = (MIOU.evidence(predicted(each), TASK.targets(masks)).arrays() for each in (logits, other))
    alarms, runs = 0, 20
    for seed in range(runs):
        random = np.random.default_rng(seed)
        chosen, swapped = random.integers(0, 150, 50), random.random((50, 1)) < 0.5
        pair = [
            MeanIoU(**{name: np.where(swapped, first[name][chosen], second[name][chosen]) for name in first})
            for first, second in ((ours, theirs), (theirs, ours))
        ]
        alarms += compare(MIOU, *pair, confidence=0.99).is_worse
    assert alarms <= 1
