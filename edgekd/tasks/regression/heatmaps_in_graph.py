"""Decoding of heat maps inside an ONNX file, with the operators of ONNX alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from edgekd.errors import ModelError
from edgekd.tasks.graph_nodes import GraphNodes, real, whole
from edgekd.tasks.logits import names_in_file
from edgekd.tasks.regression.heatmaps import COLUMNS, LEAST, must_be_maps
from edgekd.tasks.tensor_spec import LOGITS

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekd.tasks.regression.heatmaps import Size

OUTPUT = "points"


def with_points(model: ModelProto, image: Size | None, sigma: float) -> ModelProto:
    """Return a copy of ``model`` with the one output ``points`` (N, points, 3), x, y and score.

    They are those of :func:`edgekd.tasks.regression.heatmaps.decode`, but for float32's rounding.

    Args:
        model: its one output is heat maps, of sizes that are known but for the batch.
        image, sigma: as there.

    Raises:
        ModelError: it is not, the size of its image is not known, or the file is of an opset below 13.
    """
    nodes = GraphNodes(model, OUTPUT, "heat maps")
    sizes = nodes.sizes()
    maps = names_in_file(list(sizes), {LOGITS: ()})[LOGITS]
    shape = sizes[maps]
    if len(shape) != 3:
        raise ModelError(
            f"the output {maps!r} holds coordinates, of which a point is mean + deviation × output: only heat maps are "
            "decoded in a file, leave --decoded-output out"
        )
    points, height, width = shape
    image = must_be_maps((1, *shape), image)
    flat = nodes.add("Reshape", maps, whole(0, points, height * width))
    peak = nodes.add("ArgMax", flat, axis=2, keepdims=1)
    row = nodes.add("Div", peak, whole(width))
    column = nodes.add("Sub", peak, nodes.add("Mul", row, whole(width)))
    # Of x and of y, in this order, (N, points, 2).
    place = nodes.add("Concat", column, row, axis=2)
    last = whole(width - 1, height - 1)
    here, before, after = (_logs(nodes, flat, place, step, last, width) for step in (0, -1, 1))
    twice = nodes.add("Add", here, here)
    missing = (_beyond(nodes, twice, other, sigma) for other in (after, before))
    has = nodes.add("Greater", place, whole(0)), nodes.add("Less", place, last)
    before, after = (
        nodes.add("Where", there, known, guess)
        for there, known, guess in zip(has, (before, after), missing, strict=True)
    )
    bend = nodes.add("Sub", nodes.add("Sub", twice, before), after)
    bends = nodes.add("Greater", bend, real(0))
    half = nodes.add("Mul", nodes.add("Where", bends, bend, real(1)), real(2))
    offset = nodes.add("Div", nodes.add("Sub", after, before), half)
    offset = nodes.add("Where", bends, nodes.add("Clip", offset, real(-0.5), real(0.5)), real(0))
    cells = nodes.add("Add", nodes.add("Cast", place, to=TensorProto.FLOAT), nodes.add("Add", offset, real(0.5)))
    pixels = nodes.add("Mul", cells, real(image[1] / width, image[0] / height))
    score = nodes.add("GatherElements", flat, peak, axis=2)
    # NaN where a value of the map is not finite, else 0.
    lost = nodes.add("ReduceSum", nodes.add("Sub", flat, flat), whole(2), keepdims=1)
    found = nodes.add("Add", nodes.add("Concat", pixels, score, axis=2), lost)
    return nodes.ended(found, (points, COLUMNS))


def _logs(nodes: GraphNodes, flat: str, place: str, step: int, last: np.ndarray, width: int) -> str:
    """Return the logarithms ``step`` cells from each peak along x and along y, of the edge where there is none."""
    beside = nodes.add("Min", nodes.add("Max", nodes.add("Add", place, whole(step)), whole(0)), last)
    column, row = nodes.several("Split", 2, place, whole(1, 1), axis=2)
    other_column, other_row = nodes.several("Split", 2, beside, whole(1, 1), axis=2)
    along = (
        nodes.add("Add", nodes.add("Mul", y, whole(width)), x) for x, y in ((other_column, row), (column, other_row))
    )
    values = nodes.add("GatherElements", flat, nodes.add("Concat", *along, axis=2), axis=2)
    return nodes.add("Log", nodes.add("Max", values, real(LEAST)))


def _beyond(nodes: GraphNodes, twice: str, other: str, sigma: float) -> str:
    return nodes.add("Sub", nodes.add("Sub", twice, other), real(1 / sigma**2))
