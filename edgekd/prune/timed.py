"""Structured pruning until the exported network takes a given share of the time that it took."""

from dataclasses import dataclass

from torch import nn

from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.prune.choose import chooser
from edgekd.prune.clock import Clock, Timing, Write
from edgekd.prune.costs import CutCosts
from edgekd.prune.latency import LatencyTable, network_ms
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.trial import in_words
from edgekd.ranges import POSITIVE, SHARE

logger = get_logger(__name__)

# Where the search aims, as a share of the target, and what is near enough below it.
AIM, NEAR = 0.95, 0.9
ROUNDS = 8


@dataclass(frozen=True)
class Timed:
    """A network that takes at most its share of the time; ``tried`` are all that were measured on the way."""

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
) -> Timed:
    """Cuts the least important channels of each group, as many as lose least for their time, until ``share`` is left.

    The table of layer times proposes widths (:meth:`Prunable.loss` says what they lose), and the clock has the last
    word: both networks are timed in turns, and where the cut one misses, the search aims anew, between what was too
    slow and what was faster than it need be.

    Args:
        share: of the latency to keep, in (0, 1).
        table: at the precision of the files.
        write: writes a network as ONNX, as it will be deployed.
        reference: whose latency ``share`` is of; the network as it came where left out.
        seconds: for each timing.

    Raises:
        ModelError: the target cannot be reached; the message has the least that was.
    """
    SHARE.check(ModelError, share=share)
    POSITIVE.check(ModelError, seconds=seconds)
    first, threads, target = reference or prunable.network, table.setting.threads, table.setting.target
    with Clock(first, write, threads, seconds, target=target) as clock:
        costs = CutCosts(prunable, table)
        if new := costs.measure():
            logger.info(f"  prune: timed {new} layers for the table of this machine")
        whole = network_ms(clock.before, table)
        if reference is None:
            costs.timed(whole)
        else:
            write(prunable.network, clock.after)
            costs.timed(network_ms(clock.after, table), whole)
        return _Rounds(prunable, share, costs, clock).run()


class _Rounds:
    """Search and clock in turns."""

    def __init__(self, prunable: Prunable, share: float, costs: CutCosts, clock: Clock):
        self.prunable, self.share, self.costs, self.clock = prunable, share, costs, clock
        self.chooser = chooser(prunable, costs)
        self.found: list[Timed] = []

    def run(self) -> Timed:
        # Budgets of the search, in the table's shares: one that measured too slow, one that was faster than need be.
        slow, fast = float("inf"), 0.0
        aim, seen = AIM * self.share, set()
        for _ in range(ROUNDS):
            widths = self.chooser.within(aim) or self.chooser.cheapest()
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
        return Timed(best.network, best.plan, best.timing, tuple(each.timing for each in self.found))

    def _try(self, widths: tuple[int, ...]) -> Timing:
        network, plan = self.prunable.cut_to(widths)
        timing = self.clock.time(network, self.costs.share(None, widths))
        logger.info(f"  prune: predicted {timing.predicted:.1%} of the time, measured {timing.measured:.1%}")
        self.found.append(Timed(network, plan, timing, ()))
        return timing

    def _unreached(self) -> ModelError:
        least = min(each.timing.measured for each in self.found)
        return ModelError(
            f"pruning cannot reach {self.share:.0%} of the latency: the least that measured is {least:.0%}, with "
            f"max_ratio {self.prunable.max_ratio} and widths in multiples of {self.prunable.round_to}; raise the "
            f"target or max_ratio, or lower round_to{in_words(self.prunable.left)}"
        )
