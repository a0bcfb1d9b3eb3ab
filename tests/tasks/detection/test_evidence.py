"""Against pycocotools and torchmetrics where they are, and against a slow calculation of our own in any case."""

import contextlib
import io

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.detection import Detection, matching
from edgekd.tasks.detection.decode import DetectedBoxes
from edgekd.tasks.detection.evidence import average_precision, average_precision_50, average_recall
from edgekd.tasks.detection.matching import IOUS, matches
from edgekd.tasks.detection.targets import by_name, padded
from edgekd.tasks.metric import evidence_for
from tests.tasks.detection.drawn import detections, objects


def area(box):
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(ours, theirs, crowd):
    shared = area([*np.maximum(ours[:2], theirs[:2]), *np.minimum(ours[2:], theirs[2:])])
    return shared / (area(ours) if crowd else area(ours) + area(theirs) - shared)


def hits_of(image, kind, threshold, predictions, targets):
    """(score, is a hit) of each detection of one class, best first, without ignored ones; and how many objects."""
    there = np.flatnonzero(targets["classes"][image] == kind)
    crowd = targets["crowd"][image]
    ignored = crowd | targets["difficult"][image]
    order = sorted(there, key=lambda each: ignored[each])
    boxes, scores, kinds = predictions.of_image(image)
    places = [each for each in np.argsort(-scores, kind="stable") if kinds[each] == kind][:100]
    taken, found = set(), []
    for place in places:
        best, chosen = min(threshold, 1 - 1e-10), None
        for each in order:
            if each in taken:
                continue
            if chosen is not None and not ignored[chosen] and ignored[each]:
                break
            value = iou(boxes[place].astype(float), targets["boxes"][image, each].astype(float), crowd[each])
            if value >= best:
                best, chosen = value, each
        if chosen is None:
            found.append((scores[place], False))
        elif not ignored[chosen]:
            taken.add(chosen)
            found.append((scores[place], True))
    return found, int((~ignored[there]).sum())


def slow(predictions, targets, images, thresholds=IOUS, kinds=4):
    """COCO's mean average precision and average recall of ``images``, which may be drawn several times."""
    precisions, recalls = [], []
    for kind in range(kinds):
        for threshold in thresholds:
            parts = [hits_of(image, kind, threshold, predictions, targets) for image in images]
            total = sum(each for _, each in parts)
            if not total:
                continue
            every = [hit for found, _ in parts for hit in found]
            order = np.argsort([-score for score, _ in every], kind="stable")
            true = np.cumsum([every[each][1] for each in order])
            precision, recall = true / np.arange(1, len(true) + 1), true / total
            wanted = np.linspace(0, 1, 101)
            precisions.append(np.mean([max(precision[recall >= each], default=0.0) for each in wanted]))
            recalls.append(recall[-1] if len(recall) else 0.0)
    return np.mean(precisions), np.mean(recalls)


def coco(predictions, targets, kinds=4):
    """By pycocotools: mAP, mAP50 and average recall of 100 detections, and the mean curve at an overlap of 0.5.

    It ignores objects of areas out of its range, by their plain overlap, and each takes one detection: of a difficult
    object there is one for each.
    """
    tools = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    from pycocotools.coco import COCO

    images = [{"id": image + 1} for image in range(len(predictions.scores))]
    annotations, results = [], []
    for image in range(len(images)):
        for place in np.flatnonzero(targets["classes"][image] >= 0):
            x1, y1, x2, y2 = targets["boxes"][image, place].astype(float)
            about = {"image_id": image + 1, "category_id": int(targets["classes"][image, place]) + 1}
            about |= {"iscrowd": int(targets["crowd"][image, place]), "area": (x2 - x1) * (y2 - y1)}
            copies = 1
            if targets["difficult"][image, place]:
                copies, about["area"] = len(predictions.of_image(image)[1]), 1e11
            for _ in range(copies):
                annotations.append({"id": len(annotations) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], **about})
        for (x1, y1, x2, y2), score, kind in zip(*predictions.of_image(image), strict=True):
            bbox = [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)]
            results.append({"image_id": image + 1, "category_id": int(kind) + 1, "bbox": bbox, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, "images": images, "annotations": annotations}
        truth.dataset["categories"] = [{"id": kind + 1, "name": str(kind)} for kind in range(kinds)]
        truth.createIndex()
        judged = tools.COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    # By overlaps, recalls, classes, areas and numbers of detections; −1 for classes without an object.
    curves = judged.eval["precision"][0, :, :, 0, -1]
    return (judged.stats[0], judged.stats[1], judged.stats[8]), curves[:, (curves > -1).all(0)].mean(1)


@pytest.mark.parametrize("difficult", [0, 0.3])
@pytest.mark.parametrize("seed", range(6))
def test_as_pycocotools(seed, difficult):
    stored = objects(60, seed=seed, crowds=0.2 * (seed % 2), whole=seed < 4, difficult=difficult)
    predictions, targets = detections(stored, seed=seed + 100, digits=1 + seed % 2), by_name(stored)
    metrics = (average_precision, average_precision_50, average_recall)
    matched = matches(predictions, targets)
    found = [metric(matched).value() for metric in metrics]
    expected, curve = coco(predictions, targets)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(average_precision(matched).curve(), curve, atol=1e-9)


@pytest.mark.slow
def test_as_torchmetrics():
    pytest.importorskip("pycocotools", reason="torchmetrics needs pycocotools")
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    stored = objects(50, seed=11)
    predictions, targets = detections(stored, seed=12), by_name(stored)
    judge = MeanAveragePrecision(iou_thresholds=IOUS.tolist(), rec_thresholds=np.linspace(0, 1, 101).tolist())
    for image in range(50):
        boxes, scores, kinds = map(torch.from_numpy, predictions.of_image(image))
        there = targets["classes"][image] >= 0
        truth = {name: torch.from_numpy(targets[name][image, there]) for name in ("boxes", "classes", "crowd")}
        judge.update(
            [{"boxes": boxes, "scores": scores, "labels": kinds}],
            [{"boxes": truth["boxes"], "labels": truth["classes"], "iscrowd": truth["crowd"].long()}],
        )
    found = average_precision(matches(predictions, targets)).value()
    assert found == pytest.approx(float(judge.compute()["map"]), abs=1e-6)


def pascal_voc(predictions, targets, kind):
    """The loop of VOCevaldet.m (VOCdevkit 2012): for each detection 1 (right), −1 (wrong) or 0, best first."""
    places = [
        (-predictions.scores[image, place], image, place)
        for image, place in np.argwhere(predictions.classes == kind).tolist()
    ]
    detected, found = set(), []
    for _, image, place in sorted(places):
        # Pixels count from 1, and a box holds its last one.
        bb, most, best = predictions.boxes[image, place] + [1, 1, 0, 0], -np.inf, None
        for each in np.flatnonzero(targets["classes"][image] == kind):
            gt = targets["boxes"][image, each] + [1, 1, 0, 0]
            bi = [max(bb[0], gt[0]), max(bb[1], gt[1]), min(bb[2], gt[2]), min(bb[3], gt[3])]
            iw, ih = bi[2] - bi[0] + 1, bi[3] - bi[1] + 1
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1) + (gt[2] - gt[0] + 1) * (gt[3] - gt[1] + 1) - iw * ih
                if iw * ih / ua > most:
                    most, best = iw * ih / ua, (image, each)
        if most < 0.5:
            found.append(-1)
        elif targets["difficult"][best]:
            found.append(0)
        else:
            found.append(-1 if best in detected else 1)
            detected.add(best)
    return found


def apart(n=30, seed=0):
    """Objects that no box overlaps two of by 0.5, where COCO's choice among several is VOC's; and detections.

    Some boxes are small parts of an object, and some objects have two boxes.
    """
    random, rows, boxes = np.random.default_rng(seed), [], np.zeros((n, 24, 4), np.float32)
    for image in range(n):
        corners = 16 * np.array(np.divmod(np.arange(8), 4)).T + random.integers(0, 3, (8, 2))
        whole = np.hstack([corners, corners + random.integers(8, 12, (8, 2))])
        kinds = random.integers(0, 2, 8)
        rows.append(np.column_stack([np.where(random.random(8) < 0.4, -32768 - kinds, kinds), whole]))
        part = np.hstack([corners, corners + random.integers(3, 7, (8, 2))])
        boxes[image] = np.vstack([whole + random.integers(-2, 3, (8, 4)), whole + random.integers(-2, 3, (8, 4)), part])
    stored = padded(rows)
    scores = random.permutation(n * 24).reshape(n, 24).astype(np.float32) / (n * 24)
    return DetectedBoxes(boxes, scores, np.tile(by_name(stored)["classes"], 3), 2), by_name(stored)


def test_difficult_objects_are_ignored_as_in_pascal_voc():
    predictions, targets = apart()
    found = matches(predictions, targets)
    for kind in range(2):
        ours = [
            (score, int(hit) - int(not hit and not ignored))
            for each in found.images
            for score, of, hit, ignored in zip(each.scores, each.classes, each.hits[0], each.ignored[0], strict=True)
            if of == kind
        ]
        expected = pascal_voc(predictions, targets, kind)
        assert [flag for _, flag in sorted(ours, reverse=True)] == expected
        assert {*expected} == {-1, 0, 1}
        real = (targets["classes"] == kind) & ~targets["difficult"]
        assert found.counted.objects[:, kind].tolist() == real.sum(1).tolist()


def test_a_part_of_a_difficult_object_is_a_false_detection_and_a_part_of_a_crowd_is_none():
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 10, 9], [20, 20, 28, 28]]], np.float32)
    predictions = DetectedBoxes(boxes, np.array([[0.9, 0.8, 0.7]], np.float32), np.zeros((1, 3), np.int64), 1)
    rows = [[0, 20, 20, 28, 28], [-32768, 0, 0, 10, 10]]
    # Of the detections by falling score, those that count: a part of it, and the object's own; the whole of it is none.
    assert average_precision_50(matches(predictions, by_name(padded([rows])))).value() == pytest.approx(0.5)
    rows[1][0] = -2
    assert average_precision_50(matches(predictions, by_name(padded([rows])))).value() == pytest.approx(1)


def test_for_any_weights_as_a_slow_calculation():
    stored = objects(24, seed=3, difficult=0.2)
    predictions, targets = detections(stored, seed=4, digits=3), by_name(stored)
    random = np.random.default_rng(0)
    drawn = [np.arange(24), *(np.sort(random.integers(24, size=24)) for _ in range(2))]
    weights = np.stack([np.bincount(each, minlength=24) for each in drawn]).astype(float)
    expected = [slow(predictions, targets, each) for each in drawn]
    # Repeated images lie next to each other in the slow one, and are counted one by one: a hit of the second copy has
    # no false detection of an equal score before it that the first did not have.
    found = matches(predictions, targets)
    values = average_precision(found).values(weights)
    np.testing.assert_allclose(values[0], expected[0][0], atol=1e-12)
    np.testing.assert_allclose(values, [each for each, _ in expected], atol=2e-3)
    np.testing.assert_allclose(average_recall(found).values(weights), [each for _, each in expected])


def test_whole_weights_are_repeated_images_and_a_scale_changes_nothing():
    stored = objects(30, seed=5)
    evidence = average_precision(matches(detections(stored, seed=6), by_name(stored)))
    weights = np.random.default_rng(1).random((3, 30))
    np.testing.assert_allclose(evidence.values(weights), evidence.values(7 * weights))
    one = np.zeros((1, 30))
    one[0, 4] = 1
    alone = type(evidence)(**{name: rows[4:5] for name, rows in evidence.arrays().items()})
    assert evidence.values(one)[0] == pytest.approx(alone.value(), nan_ok=True)


TASK = Detection(("a", "b", "c", "d"))


@pytest.fixture
def matched_images(monkeypatch):
    """The images that were matched with their objects, one entry for each time."""
    images, match = [], matching.match
    monkeypatch.setattr(matching, "match", lambda *image: images.append(image) or match(*image))
    return images


def test_all_metrics_share_one_matching_of_each_image(matched_images):
    stored = objects(30, seed=13)
    predictions, targets = detections(stored, seed=14, digits=3), by_name(stored)
    found = evidence_for(TASK.metrics, predictions, targets)
    assert len(matched_images) == 30
    for metric in TASK.metrics:
        alone, shared = (each.arrays() for each in (metric.evidence(predictions, targets), found[metric.name]))
        assert all(np.array_equal(alone[name], rows) for name, rows in shared.items())
    matched_images.clear()
    worse = detections(stored, seed=15, quality=0.4)
    TASK.breakdown(NamedPredictions("a", predictions), NamedPredictions("b", worse), targets, "ONNX Runtime")
    assert len(matched_images) == 2 * 30


@pytest.mark.parametrize(("place", "counts"), [(99, True), (100, False)])
def test_of_a_class_in_an_image_the_best_hundred_count_and_at_the_threshold_all(place, counts):
    boxes = np.full((1, 150, 4), [10, 10, 14, 14], np.float32)
    boxes[0, place] = [0, 0, 4, 4]
    scores = np.linspace(0.99, 0.6, 150, dtype=np.float32)[None]
    predictions = DetectedBoxes(boxes, scores, np.ones((1, 150), np.int64), 4)
    targets = {"boxes": np.array([[[0, 0, 4, 4]]], np.float32), "classes": np.array([[1]])}
    found = evidence_for(TASK.metrics, predictions, targets)
    assert found["box_recall"].value() == (1 if counts else 0)
    assert found["box_map"].value() == pytest.approx(0.01 if counts else 0)  # one of a hundred, at any recall
    assert found["box_f1"].value() == pytest.approx(2 / 151)


def test_joined_evidence_is_that_of_all_images():
    stored = objects(30, seed=7)
    predictions, targets = detections(stored, seed=8), by_name(stored)
    places = (slice(20), slice(20, 30))
    for metric in TASK.metrics:
        whole = metric.evidence(predictions, targets)
        parts = [type(whole)(**{name: rows[at] for name, rows in whole.arrays().items()}) for at in places]
        assert parts[0].joined(parts[1]).value() == pytest.approx(whole.value())


def test_detections_of_several_lengths_join():
    first, second = (objects(8, seed=seed) for seed in (1, 2))
    ours = average_precision(matches(detections(first, most=3), by_name(first)))
    theirs = average_precision(matches(detections(second, most=30), by_name(second)))
    assert ours.scores.shape[1] != theirs.scores.shape[1]
    assert ours.joined(theirs).n == 16


def test_what_files_of_strangers_hold_is_refused():
    stored = objects(5)
    arrays = average_precision(matches(detections(stored), by_name(stored))).arrays()
    kind = type(average_precision(matches(detections(stored), by_name(stored))))
    for wrong in (
        {"classes": arrays["classes"] + np.int16(40)},
        {"hits": arrays["hits"].astype(float)},
        {"scores": arrays["scores"][:, :1]},
        {"objects": arrays["objects"][:2]},
    ):
        with pytest.raises(DataError):
            kind(**{**arrays, **wrong})
    none = by_name(np.full((5, 1, 5), -1, np.float32))
    with pytest.raises(DataError, match="no image has an object"):
        average_precision(matches(detections(stored), none))
