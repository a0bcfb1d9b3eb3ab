"""Weights for channel groups from a sensitivity scan, so that measurements decide between groups and not scores."""

import math
from collections.abc import Sequence
from statistics import median

from edgekd.errors import ModelError
from edgekd.nearest import nearest
from edgekd.prune.groups import ChannelGroup
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import Sensitivity
from edgekd.ranges import POSITIVE


def sensitivity_weights(scanned: Sequence[Sensitivity], prunable: Prunable, floor: float = 1e-3) -> dict[str, float]:
    """Compute a factor for each group that makes the scores of ``prunable`` add up to the measured sensitivity.

    An importance ranks the channels of one group. Between groups its scores say little, however they are normalised,
    since networks are far more sensitive in some layers than in others (Li et al., "Pruning Filters for Efficient
    ConvNets", 2017, section 3.2). So the measured score decides there, as in NetAdapt (Yang et al., 2018). With these
    ``weights`` a :class:`Prunable` has the importance that a group loses in the units of the measured score:
    w = Σ max(s − s', floor) / Σ lost, over the widths that were measured, where s is the uncut network's score, s' the
    cut one's, and lost is :meth:`ChannelGroup.lost` of the given ``prunable``. Groups without a measurement, or whose
    cut channels all score 0, get the median.

    >>> weights = sensitivity_weights(scan(network, shape, accuracy), Prunable(network, shape))  # doctest: +SKIP
    >>> prune(network, shape, macs=0.5, weights=weights)  # doctest: +SKIP

    Args:
        scanned: sensitivities of the same network. A score that is not finite counts as the greatest loss of all cuts.
        prunable: the importance and the scope that the weights are for, without weights.
        floor: the least loss of a cut, above 0: the smallest difference that the score resolves, such as 1/n for the
            accuracy on n samples. It keeps noise from giving a group a weight of 0 or less.

    Returns:
        Weights above 0, by the path of each group's root.

    Raises:
        ModelError: ``floor`` is not above 0; ``scanned`` is of another network, or holds no measured cut.
    """
    POSITIVE.check(ModelError, floor=floor)
    measured = {each.layer: _by_width(each, floor) for each in scanned}
    finite = [loss for by_width in measured.values() for loss in by_width.values() if loss < math.inf]
    worst = max(finite, default=floor)
    weights: dict[str, float] = {}
    for each in scanned:
        group, by_width = _group_of(each, prunable), measured[each.layer]
        lost = sum(group.lost(width // group.repeats) for width in by_width) if group else 0.0
        if lost > 0:
            weights[each.layer] = sum(min(loss, worst) for loss in by_width.values()) / lost
    if not weights:
        raise ModelError("the scan measured no cut of these groups: give it more cuts, or other ratios")
    usual = median(weights.values())
    return {root: weights.get(root, usual) for root in prunable.roots}


def _by_width(sensitivity: Sensitivity, floor: float) -> dict[int, float]:
    """Return the loss of score by width; rounding may give two ratios one width, or no channels to cut."""
    scores = {cut.width: cut.score for cut in sensitivity.cuts if cut.width < sensitivity.width}
    return {
        width: max(sensitivity.uncut - score, floor) if math.isfinite(score) else math.inf
        for width, score in scores.items()
        if score is not None
    }


def _group_of(sensitivity: Sensitivity, prunable: Prunable) -> ChannelGroup | None:
    layer, layers, name = sensitivity.layer, prunable.structure.fans, type(prunable.network).__name__
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
