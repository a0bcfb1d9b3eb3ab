"""Measured harm in place of scores between channel groups."""

import math
from collections.abc import Sequence
from statistics import median

from edgekd.errors import ModelError
from edgekd.prune.groups import ChannelGroup
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import Sensitivity
from edgekd.ranges import POSITIVE
from edgekd.registry import nearest


def harms(scanned: Sequence[Sensitivity], prunable: Prunable, floor: float = 1e-3) -> dict[str, float]:
    """Factors, by group, that make the scores of ``prunable`` add up to the harm that was measured.

    An importance ranks the channels of one group. Between groups its scores say little, however they are normalised,
    since networks are far more sensitive in some layers than in others (Li et al., "Pruning Filters for Efficient
    ConvNets", 2017, section 3.2); so the measured score decides there, as in NetAdapt (Yang et al., 2018). Given
    to :class:`Prunable` as ``weights``, what a group loses by its scores is in the units of the measured one:
    w = Σ max(s − s', floor) / Σ lost, over the widths that were measured, where s is the uncut network's score, s' the
    cut one's, and lost what :meth:`ChannelGroup.lost` gives for ``prunable`` as it is. Groups without a measurement,
    or whose cut channels all score 0, get the median.

    >>> weights = harms(scan(network, shape, accuracy), Prunable(network, shape))  # doctest: +SKIP
    >>> prune(network, shape, macs=0.5, weights=weights)  # doctest: +SKIP

    Args:
        scanned: of the same network. A score that is not finite counts as the greatest harm among all cuts.
        prunable: with the importance and the scope that the weights are for, and no weights yet.
        floor: the least harm of a cut, above 0: the smallest difference that the score can tell, such as 1/n for the
            accuracy on n samples. With nothing below it, noise gives no group a weight of 0 or less.

    Raises:
        ModelError: ``floor`` is not above 0, ``scanned`` is of another network, or holds no measured cut.
    """
    POSITIVE.check(ModelError, floor=floor)
    measured = {each.layer: _by_width(each, floor) for each in scanned}
    finite = [harm for by_width in measured.values() for harm in by_width.values() if harm < math.inf]
    worst = max(finite, default=floor)
    weights: dict[str, float] = {}
    for each in scanned:
        group, by_width = _group_of(each, prunable), measured[each.layer]
        lost = sum(group.lost(width // group.repeats) for width in by_width) if group else 0.0
        if lost > 0:
            weights[each.layer] = sum(min(harm, worst) for harm in by_width.values()) / lost
    if not weights:
        raise ModelError("the scan measured no cut of these groups: give it more time, or other ratios")
    usual = median(weights.values())
    return {root: weights.get(root, usual) for root in prunable.roots}


def _by_width(sensitivity: Sensitivity, floor: float) -> dict[int, float]:
    """By width; rounding may give two ratios one width, or none of the channels to cut."""
    scores = {cut.width: cut.score for cut in sensitivity.cuts if cut.width < sensitivity.width}
    return {
        width: max(sensitivity.uncut - score, floor) if math.isfinite(score) else math.inf
        for width, score in scores.items()
        if score is not None
    }


def _group_of(sensitivity: Sensitivity, prunable: Prunable) -> ChannelGroup | None:
    layer, layers, name = sensitivity.layer, prunable.structure.sides, type(prunable.network).__name__
    if layer not in layers:
        raise ModelError(f"the scan is of another network: {name} has no layer {layer!r}{nearest(layer, layers)}")
    if layer not in prunable.roots:  # ignored here, and not in the scan
        return None
    group = prunable.groups[prunable.roots.index(layer)]
    if group.width != sensitivity.width:
        raise ModelError(
            f"the scan is of another network: {layer!r} has {group.width} channels in {name}, and {sensitivity.width} "
            "in the scan; scan this one"
        )
    return group
