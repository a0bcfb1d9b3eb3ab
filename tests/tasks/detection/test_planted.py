"""Faults of a deployed detector that the gate's comparison finds, and an unchanged one that it lets pass."""

from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from edgekd.stats.bootstrap import bootstrap_bounds, bootstrap_differences
from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.decode import DetectedBoxes
from edgekd.tasks.detection.targets import by_name, padded

NAMES = ("a", "b", "c", "d")
TASK = Detection(NAMES)
METRICS = {metric.name: metric for metric in TASK.metrics}
IMAGES, OBJECTS = 80, 4


def good_detector(seed=0):
    """Stored objects, and a detector that finds nine of ten with small errors and few false ones."""
    random = np.random.default_rng(seed)
    corners, sides = random.uniform(0, 60, (IMAGES, OBJECTS, 2)), random.uniform(10, 30, (IMAGES, OBJECTS, 2))
    objects = np.concatenate([random.integers(0, 4, (IMAGES, OBJECTS, 1)), corners, corners + sides], 2)
    error = random.normal(0, 0.03, (IMAGES, OBJECTS, 4)) * np.tile(sides, 2)
    found = random.random((IMAGES, OBJECTS)) < 0.9
    scores = np.clip(random.beta(8, 3, (IMAGES, OBJECTS)), 0.06, 1)
    false = random.random((IMAGES, OBJECTS)) < 0.1
    kinds = np.where(false, random.integers(0, 4, (IMAGES, OBJECTS)), objects[..., 0]).astype(np.int64)
    scores = np.where(false, scores * 0.5, scores)
    boxes = (objects[..., 1:] + error).astype(np.float32)
    predicted = DetectedBoxes(boxes, scores.astype(np.float32), np.where(found, kinds, -1), len(NAMES))
    return by_name(padded(list(objects))), predicted


def lost(metric, targets, before, after):
    """The loss, and its lower bound at 99 % by the gate's bootstrap, of few draws."""
    ours, theirs = (METRICS[metric].evidence(each, targets) for each in (before, after))
    value = ours.value() - theirs.value()
    return value, bootstrap_bounds(bootstrap_differences(ours, theirs, draws=200), value, IMAGES, 0.99)[0]


def test_boxes_that_are_shifted_by_a_twentieth_of_their_size():
    targets, before = good_detector()
    sides = before.boxes[..., 2:] - before.boxes[..., :2]
    value, least = lost("box_map", targets, before, replace(before, boxes=before.boxes + 0.05 * np.tile(sides, 2)))
    assert value > 0.05 and least > 0


def test_scores_that_fall_keep_map_and_move_the_operating_point():
    targets, before = good_detector()
    after = replace(before, scores=before.scores * np.float32(0.6))
    assert abs(lost("box_map", targets, before, after)[0]) < 1e-9
    value, least = lost("box_f1", targets, before, after)
    assert value > 0.3 and least > 0.2


def test_a_class_that_is_dead_is_named():
    targets, before = good_detector()
    after = replace(before, classes=np.where(before.classes == 2, -1, before.classes))
    assert lost("box_map", targets, before, after)[1] > 0.1
    asked = []

    def pictures(samples):
        asked.extend(samples)
        return np.full((len(samples), 3, 45, 90), 128, np.uint8)

    both = NamedPredictions("teacher", before), NamedPredictions("student", after)
    told = TASK.breakdown(*both, targets, "ONNX Runtime", pictures)
    assert [each.code for each in told.lost()] == ["class_lost", "operating_point_moved"]
    assert "'c'" in told.lost()[0].message and told.panel().further[0].rows
    # Of the three images in which the networks act most differently.
    assert [each.sample for each in told.examples] == asked and len(set(asked)) == 3
    shots = told.panel().shots
    assert [shot.caption.split(",")[0] for shot in shots] == ["objects", "teacher", "student"] * 3
    for shot in shots:
        over, photo = (Image.open(BytesIO(b64decode(each))) for each in (shot.png, shot.photo))
        assert over.size == photo.size == (320, 160) and photo.format == "JPEG"
        inks = {colour for _, colour in over.getcolors(1 << 16)}
        assert {(0, 0, 0, 0), (0xF0, 0xE4, 0x42, 255)} <= inks
        assert ((0x56, 0xB4, 0xE9, 255) in inks) == (not shot.caption.startswith("objects"))
    curves = told.panel().curves
    for predicted, curve in ((before, curves.before), (after, curves.after)):
        area = METRICS["box_map50"].evidence(predicted, targets).value()
        assert len(curve) == len(curves.x) == 101 and abs(np.mean(curve) - area) < 1e-4
    assert told.model_copy(update={"curve_before": None}).panel().curves is None  # of an earlier version
    without = TASK.breakdown(*both, targets, "ONNX Runtime")
    assert without.changed == told.changed and {shot.photo for shot in without.panel().shots} == {None}
    bare = [each.model_copy(update={"actual": None}) for each in without.examples]
    earlier = without.model_copy(update={"examples": tuple(bare)}).panel()
    assert len(without.panel().colours) == 3 and earlier.colours == () and earlier.legend.endswith("threshold.")
    again = TASK.breakdown_from_json(told.to_json())
    assert again.lost() == told.lost() and again.score_moved < 0


def test_unchanged_networks_and_equal_ones_pass():
    """Two networks of one quality: boxes of each image by one or the other, at random."""
    targets, before = good_detector()
    assert lost("box_map", targets, before, before) == (0, 0)
    worse = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        moved = before.boxes + random.normal(0, 0.2, before.boxes.shape).astype(np.float32)
        first = random.random(IMAGES) < 0.5
        ours, theirs = (
            replace(before, boxes=np.where((first == which)[:, None, None], moved, before.boxes)) for which in (0, 1)
        )
        worse.append(lost("box_map", targets, ours, theirs)[1] > 0)
    assert not any(worse)
