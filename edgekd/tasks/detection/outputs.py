"""Outputs of detectors' heads, by their names, and their one common form. NumPy alone, as devices run it.

Two kinds of heads are known by their names:

- Without anchors, two maps for each stride of the input: ``cls.8`` (N, classes, H, W) holds a logit for each class,
  ``box.8`` (N, 4, H, W) the distances from the middle of each cell to the left, top, right and bottom side of the box,
  in strides. Negative distances are 0. In place of ``box.8``, ``bins.8`` (N, 4 · bins, H, W) holds logits of a
  distribution of each side over the distances 0, 1, 2, ..., whose mean is the distance (Li et al., "Generalized Focal
  Loss", 2020, equation 5).
- With anchors, all levels in one: ``anchors`` (N, A, 4) holds their corners in pixels, which the network itself gives,
  so that its file needs nothing else. ``scores`` (N, A, classes) are logits for each class, or (N, A, 1 + classes) ones
  for the background and then each class, of which one holds. ``deltas`` (N, A, 4) shift and stretch anchors as Girshick
  et al. (2014), equations 1 to 4, each divided by its ``scales`` (N, 4) where these are given (SSD: 10, 10, 5, 5); or
  ``distances`` (N, A, 4) from their middles in their widths and heights (Tian et al. 2019). ``centerness`` (N, A, 1) is
  a logit whose probability the scores are multiplied with, and the square root taken.

The common form is (N, positions, 4 + classes): corners in pixels, then a logit for each class. All of an image's are
NaN where one of its outputs that are used is not finite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import ModelError
from edgekd.tasks.reduction import OutputReduction, PositionGroup, PositionRule
from edgekd.tasks.tensor_spec import LOGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Arrays = Mapping[str, NDArray[Any]]

CLS, BOX, BINS = "cls.", "box.", "bins."
ANCHORS, SCORES, DELTAS, DISTANCES, SCALES, CENTERNESS = (
    *("anchors", "scores", "deltas", "distances"),
    *("scales", "centerness"),
)
# exp of more overflows no picture; torchvision clips there too.
LARGEST_STRETCH = math.log(1000.0 / 16)
# Of a logit: far more than rounding takes from it on its way to a probability.
SLACK = 0.01
EXPECTED = (
    "maps 'cls.8' (classes, H, W) and 'box.8' (4, H, W) or 'bins.8' (4 · bins, H, W) for each stride, or 'anchors' "
    "(A, 4), 'scores' (A, classes) and 'deltas' or 'distances' (A, 4)"
)


def strides(names: Iterable[str]) -> list[int]:
    """Return the strides of heads without anchors, the finest first; none where there are anchors.

    Raises:
        ModelError: a map has no partner, or its name no stride.
    """
    found: dict[str, set[str]] = {CLS: set(), sides(names): set()}
    for name in names:
        for kind, sizes in found.items():
            if name.startswith(kind):
                sizes.add(name.removeprefix(kind))
    scores, boxes = found.values()
    if scores != boxes or not all(each.isdecimal() and int(each) for each in scores):
        raise ModelError(f"the network gives {', '.join(names)}; a detector gives {EXPECTED}")
    return sorted(map(int, scores))


def sides(names: Iterable[str]) -> str:
    """Return how names of maps begin that hold the sides of boxes: as :data:`BINS`, or as :data:`BOX`."""
    return BINS if any(name.startswith(BINS) for name in names) else BOX


def bins_of(channels: int) -> int:
    """Return over how many bins each side is distributed in a map of ``channels``.

    Raises:
        ModelError: it is no such map.
    """
    bins, left = divmod(channels, 4)
    if left or bins < 2:
        raise ModelError(
            f"a map 'bins.8' of distributions has 4 · bins channels, of 2 bins or more, and this one has {channels}"
        )
    return bins


def has_anchors(names: Iterable[str]) -> bool:
    """Return whether outputs of these names are of heads with anchors."""
    names = set(names)
    return {ANCHORS, SCORES} <= names and bool({DELTAS, DISTANCES} & names)


def used(names: Iterable[str]) -> list[str]:
    """Return which outputs the common form is made of.

    Raises:
        ModelError: they are of no known head.
    """
    names = list(names)
    if has_anchors(names):
        places = DISTANCES if DISTANCES in names else DELTAS
        scales = [SCALES] if SCALES in names and places == DELTAS else []
        return [ANCHORS, SCORES, places, *scales, *([CENTERNESS] if CENTERNESS in names else [])]
    if not (found := strides(names)):
        raise ModelError(f"the network gives {', '.join(names)}; a detector gives {EXPECTED}")
    return [f"{kind}{stride}" for stride in found for kind in (sides(names), CLS)]


def has_scores(name: str) -> bool:
    """Return whether the output ``name`` holds logits."""
    return name.startswith(CLS) or name in (SCORES, CENTERNESS, LOGITS)


def reach_of_scores(outputs: Arrays, classes: int) -> float:
    """Return how far a logit of the common form moves at most where the outputs of scores move by 1.

    That of a class against all others, of a head with a background, moves by as much as its own and as theirs do.
    """
    return 2.0 if has_anchors(outputs) and outputs[SCORES].shape[2] == classes + 1 else 1.0


def reduction(shapes: Mapping[str, tuple[int, ...]], classes: int, score: float) -> OutputReduction:
    """Return the positions of outputs of these shapes, of one sample, that may hold a box of more than ``score``.

    Raises:
        ModelError: they are of no known head.
    """

    def rules(output: str, first: int = 0, softmax: bool = False, least: float = score) -> tuple[PositionRule, ...]:
        if not least:
            return ()
        bound = math.log(least / (1 - least))
        # The largest logit of a softmax is 0 less the largest, however probable it is.
        return (PositionRule(output, (min(bound, 0.0) if softmax else bound) - SLACK, first, softmax),)

    if LOGITS in shapes:
        return OutputReduction("positions", (PositionGroup((LOGITS,), rules(LOGITS, first=4)),))
    names = used(shapes)
    if not has_anchors(names):
        pairs = zip(names[::2], names[1::2], strict=True)
        return OutputReduction("positions", tuple(PositionGroup(pair, rules(pair[1])) for pair in pairs))
    # The root of a product of two probabilities is above a score where both are above its square.
    least = score**2 if CENTERNESS in names else score
    with_background = shapes[SCORES][-1] == classes + 1
    found = rules(SCORES, int(with_background), with_background, least)
    found += rules(CENTERNESS, least=least) if CENTERNESS in names else ()
    scales = (PositionGroup((SCALES,)),) if SCALES in names else ()
    return OutputReduction(
        "positions", (PositionGroup(tuple(name for name in names if name != SCALES), found), *scales)
    )


def merged(outputs: Arrays, classes: int) -> Floats:
    """Return the common form (N, positions, 4 + classes) of a head's outputs.

    Raises:
        ModelError: they are of no known head.
    """
    finite = np.all([np.isfinite(outputs[name]).reshape(len(outputs[name]), -1).all(1) for name in used(outputs)], 0)
    with np.errstate(invalid="ignore", over="ignore"):
        found = _with_anchors(outputs, classes) if has_anchors(outputs) else _of_maps(outputs)
    found[~finite] = np.nan
    return found


def middles(height: int, width: int, stride: int) -> Floats:
    """Return the middles (height · width, 2) of a map's cells in pixels, x before y, row by row."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1) * stride


def mean_distances(bins: NDArray[Any]) -> NDArray[Any]:
    """Return the mean distances (N, 4, H, W), in bins, of distributions whose logits are (N, 4 · bins, H, W)."""
    logits = bins.astype(np.float32).reshape(len(bins), 4, bins_of(bins.shape[1]), *bins.shape[2:])
    powers = np.exp(logits - logits.max(2, keepdims=True))
    places = np.arange(logits.shape[2], dtype=np.float32)[:, None, None]
    found: NDArray[Any] = (powers * places).sum(2) / powers.sum(2)
    return found


def _of_maps(outputs: Arrays) -> Floats:
    kind, levels = sides(outputs), []
    for stride in strides(outputs):
        far = outputs[f"{kind}{stride}"]
        corners = _corners(mean_distances(far) if kind == BINS else far, stride)
        levels.append(np.concatenate([corners, _by_position(outputs[f"{CLS}{stride}"])], 2))
    return np.concatenate(levels, 1).astype(np.float32)


def _by_position(maps: NDArray[Any]) -> NDArray[Any]:
    return maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)


def _corners(distances: NDArray[Any], stride: int) -> NDArray[Any]:
    far = np.maximum(_by_position(distances), 0) * stride
    height, width = distances.shape[2:]
    centres = middles(height, width, stride)
    return np.concatenate([centres - far[..., :2], centres + far[..., 2:]], 2)


def _with_anchors(outputs: Arrays, classes: int) -> Floats:
    logits: NDArray[Any] = outputs[SCORES].astype(np.float32)
    if logits.shape[2] == classes + 1:
        logits = _against_the_rest(logits)[..., 1:]
    if CENTERNESS in outputs:
        logits = _mean_logit(logits, outputs[CENTERNESS].astype(np.float32))
    anchors = outputs[ANCHORS].astype(np.float32)
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sides / 2
    if DISTANCES in outputs:
        far = outputs[DISTANCES].reshape(*anchors.shape[:2], 2, 2) * sides[..., None, :]
        corners = np.concatenate([centres - far[..., 0, :], centres + far[..., 1, :]], 2)
    else:
        deltas: NDArray[Any] = outputs[DELTAS].astype(np.float32)
        if SCALES in outputs:
            deltas = deltas / outputs[SCALES][:, None]
        middle = centres + deltas[..., :2] * sides
        half = np.exp(np.minimum(deltas[..., 2:], LARGEST_STRETCH)) * sides / 2
        corners = np.concatenate([middle - half, middle + half], 2)
    return np.concatenate([corners, logits], 2).astype(np.float32)


def _against_the_rest(logits: NDArray[Any]) -> NDArray[Any]:
    """Return log p − log (1 − p) of the softmax, by sums from both ends, from which no class is subtracted."""
    highest = logits.max(-1, keepdims=True)
    powers = np.exp(logits - highest)
    rest = np.zeros_like(powers)
    rest[..., 1:] += powers.cumsum(-1)[..., :-1]
    rest[..., :-1] += powers[..., ::-1].cumsum(-1)[..., ::-1][..., 1:]
    found: NDArray[Any] = logits - highest - np.log(np.maximum(rest, np.finfo(np.float32).tiny))
    return found


def _mean_logit(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Return the logit of the geometric mean of two probabilities."""
    log = -0.5 * (np.logaddexp(0, -first) + np.logaddexp(0, -second))
    found: NDArray[Any] = log - np.log(-np.expm1(np.minimum(log, -1e-7)))
    return found
