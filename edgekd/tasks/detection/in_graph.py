"""Decoding and suppression of boxes inside an ONNX file, with the operators of ONNX alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto

from edgekd.tasks.detection import outputs as heads
from edgekd.tasks.detection.decode import COLUMNS, NOTHING, SCORE
from edgekd.tasks.graph_nodes import GraphNodes, real, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekd.tasks.detection.decode import DecoderOptions

OUTPUT = "detections"
# From a middle to the left, top, right and bottom side.
SIDES = np.array([-1, -1, 1, 1], np.float32)
# Of a row's columns, the one that says that an image's outputs are not finite.
_LOST_SCORE = np.arange(COLUMNS) == SCORE


def with_detections(model: ModelProto, classes: int, options: DecoderOptions) -> ModelProto:
    """Return a copy of ``model`` with the one output ``detections`` (N, D, 6): corners in pixels, score and class.

    Rows are those of :func:`edgekd.tasks.detection.decode.to_rows`, the highest score first, with the class −1 where
    there is no box; D is ``options.detections``, or less where there cannot be as many. An image of whose outputs one
    is not finite has no boxes, and NaN for their scores.

    Args:
        model: its outputs are those of a detector's heads, of sizes that are known but for the batch.

    Raises:
        ModelError: they are not, or the file is of an opset below 13.
    """
    nodes = GraphNodes(model, OUTPUT, "boxes")
    shapes = nodes.sizes()
    used = heads.used(shapes)
    boxes, scores = _with_anchors(nodes, shapes, classes) if heads.has_anchors(shapes) else _of_maps(nodes, shapes)
    lost = _lost(nodes, [*used, boxes])
    scores = nodes.add("Where", lost, real(0), scores)
    rows, most = _suppressed(nodes, boxes, scores, shapes, classes, options)
    rows = nodes.add("Where", nodes.add("And", lost, _LOST_SCORE), real(np.nan), rows)
    return nodes.ended(rows, (most, COLUMNS))


def _of_maps(nodes: GraphNodes, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    boxes, logits, kind = [], [], heads.sides(shapes)
    for stride in heads.strides(shapes):
        far, score = f"{kind}{stride}", f"{heads.CLS}{stride}"
        channels, height, width = shapes[far]
        middles = np.tile(heads.middles(height, width, stride), 2)
        if kind == heads.BINS:
            distances = _mean_distances(nodes, far, heads.bins_of(channels))
        else:
            distances = nodes.add("Relu", _by_position(nodes, far, 4))
        reach = nodes.add("Mul", distances, SIDES * np.float32(stride))
        boxes.append(nodes.add("Add", reach, middles))
        logits.append(_by_position(nodes, score, shapes[score][0]))
    return nodes.add("Concat", *boxes, axis=1), nodes.add("Sigmoid", nodes.add("Concat", *logits, axis=1))


def _mean_distances(nodes: GraphNodes, name: str, bins: int) -> str:
    chances = nodes.add("Softmax", nodes.add("Reshape", name, whole(0, 4, bins, -1)), axis=2)
    places = np.arange(bins, dtype=np.float32)[:, None]
    means = nodes.add("ReduceSum", nodes.add("Mul", chances, places), whole(2), keepdims=0)
    return nodes.add("Transpose", means, perm=[0, 2, 1])


def _lost(nodes: GraphNodes, tensors: Sequence[str]) -> str:
    """Which images (N, 1, 1) have a number that is not finite: x − x is NaN there, else 0."""
    flat = nodes.add("Concat", *(nodes.add("Flatten", each, axis=1) for each in tensors), axis=1)
    nothing = nodes.add("ReduceSum", nodes.add("Sub", flat, flat), whole(1), keepdims=1)
    return nodes.add("Unsqueeze", nodes.add("IsNaN", nothing), whole(2))


def _by_position(nodes: GraphNodes, name: str, channels: int) -> str:
    return nodes.add("Transpose", nodes.add("Reshape", name, whole(0, channels, -1)), perm=[0, 2, 1])


def _with_anchors(nodes: GraphNodes, shapes: Mapping[str, tuple[int, ...]], classes: int) -> tuple[str, str]:
    if shapes[heads.SCORES][1] == classes + 1:
        background = whole(1), whole(classes + 1), whole(2)
        scores = nodes.add("Slice", nodes.add("Softmax", heads.SCORES, axis=2), *background)
    else:
        scores = nodes.add("Sigmoid", heads.SCORES)
    if heads.CENTERNESS in shapes:
        scores = nodes.add("Sqrt", nodes.add("Mul", scores, nodes.add("Sigmoid", heads.CENTERNESS)))
    low, high = _halves(nodes, heads.ANCHORS)
    sides = nodes.add("Sub", high, low)
    middles = nodes.add("Add", low, nodes.add("Mul", sides, real(0.5)))
    if heads.DISTANCES in shapes:
        far = nodes.add("Mul", heads.DISTANCES, nodes.add("Concat", sides, sides, axis=2))
        reach = nodes.add("Mul", far, SIDES)
    else:
        deltas = heads.DELTAS
        if heads.SCALES in shapes:
            deltas = nodes.add("Div", deltas, nodes.add("Unsqueeze", heads.SCALES, whole(1)))
        shift, stretch = _halves(nodes, deltas)
        middles = nodes.add("Add", middles, nodes.add("Mul", shift, sides))
        stretched = nodes.add("Exp", nodes.add("Min", stretch, real(heads.LARGEST_STRETCH)))
        half = nodes.add("Mul", nodes.add("Mul", stretched, sides), real(0.5))
        reach = nodes.add("Concat", nodes.add("Neg", half), half, axis=2)
    return nodes.add("Add", nodes.add("Concat", middles, middles, axis=2), reach), scores


def _halves(nodes: GraphNodes, name: str) -> list[str]:
    return nodes.several("Split", 2, name, whole(2, 2), axis=2)


def _suppressed(
    nodes: GraphNodes,
    boxes: str,
    scores: str,
    shapes: Mapping[str, tuple[int, ...]],
    classes: int,
    options: DecoderOptions,
) -> tuple[str, int]:
    places = sum(shapes[f"{heads.CLS}{each}"][1] * shapes[f"{heads.CLS}{each}"][2] for each in heads.strides(shapes))
    places = places or shapes[heads.ANCHORS][0]
    scores = nodes.add("Where", _counts(nodes, boxes, scores, options.score), scores, real(0))
    flat = nodes.add("Reshape", scores, whole(0, -1))
    if places * classes > options.candidates:
        best, order = nodes.several("TopK", 2, flat, whole(options.candidates), axis=1)
        flat = nodes.add("ScatterElements", nodes.add("Mul", flat, real(0)), order, best, axis=1)
        scores = nodes.add("Reshape", flat, whole(0, places, classes))
    # The operator gives a list of (image, class, place). Their scores, in a tensor that is 0 elsewhere, are ranked.
    by_class = nodes.add("Transpose", scores, perm=[0, 2, 1])
    limits = whole(options.detections), real(options.iou), real(0)
    kept = nodes.add("Gather", nodes.add("NonMaxSuppression", boxes, by_class, *limits), whole(0, 2, 1), axis=1)
    nothing = nodes.add("Mul", scores, real(0))
    scattered = nodes.add("ScatterND", nothing, kept, nodes.add("GatherND", scores, kept))
    most = min(options.detections, places * classes)
    ranked, order = nodes.several("TopK", 2, nodes.add("Reshape", scattered, whole(0, -1)), whole(most), axis=1)
    place, kind = (nodes.add(operator, order, whole(classes)) for operator in ("Div", "Mod"))
    corners = nodes.add("GatherND", boxes, _column(nodes, place), batch_dims=1)
    score, number = _column(nodes, ranked), _column(nodes, nodes.add("Cast", kind, to=TensorProto.FLOAT))
    found = nodes.add("Concat", corners, score, number, axis=2)
    empty = np.array([0, 0, 0, 0, 0, NOTHING], np.float32)
    return nodes.add("Where", nodes.add("Greater", score, real(0)), found, empty), most


def _counts(nodes: GraphNodes, boxes: str, scores: str, least: float) -> str:
    """Which scores (N, P, classes) are above the least, of boxes that have a width and a height."""
    low, high = _halves(nodes, boxes)
    width, height = nodes.several("Split", 2, nodes.add("Sub", high, low), whole(1, 1), axis=2)
    is_box = nodes.add("And", nodes.add("Greater", width, real(0)), nodes.add("Greater", height, real(0)))
    return nodes.add("And", nodes.add("Greater", scores, real(least)), is_box)


def _column(nodes: GraphNodes, name: str) -> str:
    return nodes.add("Unsqueeze", name, whole(2))
