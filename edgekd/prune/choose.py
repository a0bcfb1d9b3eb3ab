"""What chooses between the channel groups of a network."""

from edgekd.prune.costs import CutCosts
from edgekd.prune.prunable import Prunable
from edgekd.prune.search import WidthSearch
from edgekd.prune.thresholds import Thresholds


def chooser(prunable: Prunable, costs: CutCosts) -> WidthSearch | Thresholds:
    """Gives widths within a budget of ``costs``, as the scope of ``prunable`` says."""
    if prunable.scope == "paths":
        return WidthSearch(costs.choices, costs.share)
    return Thresholds(prunable, costs.share)
