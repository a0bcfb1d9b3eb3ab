"""The program on a model card that decodes a detector's outputs and suppresses boxes, in NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.tasks.detection.outputs import (
    BINS,
    CENTERNESS,
    DISTANCES,
    LARGEST_STRETCH,
    SCALES,
    has_anchors,
    sides,
    strides,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekd.tasks.detection.decode import DecoderOptions

MAPS = """\
boxes, scores = [], []
for stride in {strides}:
{far}    y, x = (np.indices(logits.shape[1:]) + 0.5) * stride  # the middles of cells
    boxes.append(np.stack([x - far[0], y - far[1], x + far[2], y + far[3]], -1).reshape(-1, 4))
    scores.append(1 / (1 + np.exp(-logits.reshape(len(logits), -1).T)))
boxes, scores = np.concatenate(boxes), np.concatenate(scores)
"""
FROM_BOXES = """\
    logits, far = outputs[f"cls.{stride}"], np.maximum(outputs[f"box.{stride}"], 0) * stride
"""
FROM_BINS = """\
    logits = outputs[f"cls.{stride}"]
    bins = outputs[f"bins.{stride}"].reshape(4, -1, *logits.shape[1:])
    powers = np.exp(bins - bins.max(1, keepdims=True))
    far = np.einsum("sbyx,b->syx", powers, np.arange(bins.shape[1])) / powers.sum(1) * stride
"""
SCORES = """\
anchors, logits = outputs["anchors"], outputs["scores"]
if logits.shape[1] > len(labels):  # the first is of the background
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores = scores[:, 1:] / scores.sum(1, keepdims=True)
else:
    scores = 1 / (1 + np.exp(-logits))
"""
WITH_CENTERNESS = """\
scores = np.sqrt(scores / (1 + np.exp(-outputs["centerness"])))
"""
ANCHORS = """\
sides = anchors[:, 2:] - anchors[:, :2]
middles = anchors[:, :2] + sides / 2
"""
FROM_DISTANCES = """\
far = outputs["distances"] * np.tile(sides, 2)
boxes = np.concatenate([middles - far[:, :2], middles + far[:, 2:]], 1)
"""
FROM_DELTAS = """\
deltas = outputs["deltas"]{scaled}
middles = middles + deltas[:, :2] * sides
half = np.exp(np.minimum(deltas[:, 2:], {stretch!r})) * sides / 2
boxes = np.concatenate([middles - half, middles + half], 1)
"""
SUPPRESS = """\
# Boxes to act on, without those that overlap a better one of their class by more than {iou:g}.
places, classes = np.nonzero((scores {least}) & (boxes[:, 2:] > boxes[:, :2]).all(1, keepdims=True))
boxes, scores = boxes[places], scores[places, classes]
areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
kept = []
for best in np.argsort(-scores, kind="stable")[:{candidates}]:
    others = [each for each in kept if classes[each] == classes[best]]
    near, far = np.maximum(boxes[best, :2], boxes[others, :2]), np.minimum(boxes[best, 2:], boxes[others, 2:])
    shared = np.maximum(far - near, 0).prod(1)
    if not (shared > {iou!r} * (areas[best] + areas[others] - shared)).any():
        kept.append(best)
for each in kept[:{detections}]:
    # From the network's pixels to the file's.
    corners = (boxes[each] - [left, top, left, top]) / [across, down, across, down]
    corners = np.clip(corners, 0, [width, height, width, height])
    if (corners[2:] > corners[:2]).all():
        print(labels[classes[each]], scores[each], *corners)
"""


def python(outputs: Sequence[str], options: DecoderOptions) -> str:
    """Return the lines that print the boxes at the threshold, with their labels and scores, in the file's pixels.

    Args:
        outputs: the names of the file's outputs, by which heads are known.

    Raises:
        ModelError: they are of no known head.
    """
    if has_anchors(outputs):
        scaled = ' / outputs["scales"]' if SCALES in outputs else ""
        boxes = FROM_DISTANCES if DISTANCES in outputs else FROM_DELTAS.format(scaled=scaled, stretch=LARGEST_STRETCH)
        decoded = SCORES + (WITH_CENTERNESS if CENTERNESS in outputs else "") + ANCHORS + boxes
    else:
        far = FROM_BINS if sides(outputs) == BINS else FROM_BOXES
        decoded = MAPS.format(strides=strides(outputs), far=far)
    # A box is suppressed by better ones alone, so that those below the threshold need not be looked at.
    acted = options.threshold > options.score
    least = f">= {options.threshold!r}" if acted else f"> {options.score!r}"
    return decoded + SUPPRESS.format(
        iou=options.iou, least=least, candidates=options.candidates, detections=options.detections
    )
