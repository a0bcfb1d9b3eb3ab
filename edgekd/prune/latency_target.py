"""Structured pruning to a share of the exported network's latency."""

from dataclasses import dataclass

from torch import nn

from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.prune.allocator import allocator
from edgekd.prune.clock import Clock, Timing, Write
from edgekd.prune.costs import CutCosts
from edgekd.prune.latency import LatencyTable, network_ms
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.verification import UnreachableShare, describe_unpruned
from edgekd.ranges import POSITIVE, SHARE

logger = get_logger(__name__)

# The share of the target that a search aims at, and the share above which a cut is near enough.
AIM, NEAR = 0.95, 0.9
ROUNDS = 8


@dataclass(frozen=True)
class LatencyPruned:
    """A pruned network within its latency target; ``tried`` are the timings of all cuts on the way."""

    network: nn.Module
    plan: Plan
    timing: Timing
    tried: tuple[Timing, ...]


def prune_to_latency(
    prunable: Prunable,
    share: float,
    table: LatencyTable,
    write: Write,
    *,
    reference: nn.Module | None = None,
    seconds: float = 1.5,
) -> LatencyPruned:
    """Prune until ``share`` of the latency is left, and lose as little importance as that allows.

    The table of layer times proposes widths, weighed against what they lose (:meth:`Prunable.loss`). The measurement
    decides: both networks are timed in turns. Where the cut network misses the target, the search aims again, between
    the budget that was too slow and the one that was faster than necessary.

    Args:
        share: the share of the latency to keep, in (0, 1).
        table: layer times at the precision of the files.
        write: writes a network as ONNX, as it will be deployed.
        reference: the network whose latency ``share`` refers to; the unpruned network if left out.
        seconds: time for each measurement.

    Raises:
        ModelError: the target cannot be reached; the message has the least latency that was measured.
    """
    SHARE.check(ModelError, share=share)
    POSITIVE.check(ModelError, seconds=seconds)
    first, setting = reference or prunable.network, table.setting
    with Clock(first, write, setting.threads, seconds, target=setting.target, runtime=setting.runtime) as clock:
        costs = CutCosts(prunable, table)
        if new := costs.measure():
            logger.info(f"  prune: timed {new} layers for the table of this machine")
        reference_ms = network_ms(clock.before, table)
        if reference is None:
            costs.set_latency(reference_ms)
        else:
            write(prunable.network, clock.after)
            costs.set_latency(network_ms(clock.after, table), reference_ms)
        return _LatencySearch(prunable, share, costs, clock).run()


def least_latency(prunable: Prunable, table: LatencyTable) -> float:
    """Predict the least share of its layers' time that a cut reaches, in (0, 1]; layers that ``table`` lacks are timed.

    Raises:
        MeasurementError: the runtime does not run one of the layers.
    """
    costs = CutCosts(prunable, table)
    costs.measure()
    costs.set_layers()
    return costs.share(None, allocator(prunable, costs).cheapest())


class _LatencySearch:
    """Alternates between allocating widths and measuring the cut network."""

    def __init__(self, prunable: Prunable, share: float, costs: CutCosts, clock: Clock):
        self.prunable, self.share, self.costs, self.clock = prunable, share, costs, clock
        self.allocator = allocator(prunable, costs)
        self.found: list[LatencyPruned] = []

    def run(self) -> LatencyPruned:
        # Budgets in the table's shares: the least that measured too slow, and the most that measured too fast.
        slow, fast = float("inf"), 0.0
        aim, seen = AIM * self.share, set()
        for _ in range(ROUNDS):
            widths = self.allocator.within(aim) or self.allocator.cheapest()
            if widths in seen:
                break
            seen.add(widths)
            timing = self._try(widths)
            if NEAR * self.share <= timing.measured <= self.share:
                break
            if timing.measured > self.share:
                slow = min(slow, aim)
            else:
                fast = max(fast, aim)
            aim *= AIM * self.share / timing.measured
            if not fast < aim < slow:
                aim = (fast + slow) / 2
        enough = [each for each in self.found if each.timing.measured <= self.share]
        if not enough:
            raise self._unreached()
        best = max(enough, key=lambda each: each.timing.measured)
        return LatencyPruned(best.network, best.plan, best.timing, tuple(each.timing for each in self.found))

    def _try(self, widths: tuple[int, ...]) -> Timing:
        network, plan = self.prunable.cut_to(widths)
        timing = self.clock.time(network, self.costs.share(None, widths))
        logger.info(f"  prune: predicted {timing.predicted:.1%} of the time, measured {timing.measured:.1%}")
        self.found.append(LatencyPruned(network, plan, timing, ()))
        return timing

    def _unreached(self) -> UnreachableShare:
        least = min(each.timing.measured for each in self.found)
        return UnreachableShare(
            f"pruning cannot reach {self.share:.0%} of the latency: the least that was measured is {least:.0%}, with "
            f"max_ratio {self.prunable.max_ratio} and widths in multiples of {self.prunable.round_to}; raise the "
            f"target or max_ratio, or lower round_to{describe_unpruned(self.prunable.unpruned)}"
        )
