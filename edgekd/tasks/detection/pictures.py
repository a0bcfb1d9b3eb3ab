"""Small pictures of boxes: those of objects, and those that networks predict."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE, MARGIN, LINE = 160, 4, 2
PAPER, OBJECT = "#ffffff", "#9a9a9a"
# Of predicted boxes, by whether they hit an object.
HIT, MISS = "#1f77b4", "#d62728"


def drawn(
    objects: Sequence[Sequence[float]],
    boxes: Sequence[Sequence[float]],
    hits: Sequence[bool],
    names: Sequence[str],
    extent: tuple[float, float],
) -> str:
    """Return a PNG in base64 with ``objects`` in grey, and ``boxes`` in blue where they hit one and else in red.

    Args:
        objects, boxes: rows of corners x1, y1, x2, y2 in pixels of the network's input.
        hits: whether each of ``boxes`` hits an object.
        names: of the classes of ``boxes``.
        extent: width and height of what is shown, in the same pixels.
    """
    scale = (SIDE - 2 * MARGIN) / max(*extent, 1.0)
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(picture)
    for each in objects:
        pen.rectangle([MARGIN + scale * side for side in each[:4]], outline=OBJECT, width=2 * LINE)
    for each, hit, name in zip(boxes, hits, names, strict=True):
        colour = HIT if hit else MISS
        corners = [MARGIN + scale * side for side in each[:4]]
        pen.rectangle(corners, outline=colour, width=LINE)
        pen.text((corners[0] + 3, corners[1] + 2), name.encode("latin-1", "replace").decode("latin-1"), fill=colour)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()
