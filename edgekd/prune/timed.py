"""Structured pruning until the exported network takes a given share of the time that it took."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from edgekd.bench import Plan as BenchPlan
from edgekd.bench import Subject, measure
from edgekd.errors import ModelError
from edgekd.progress import say
from edgekd.prune.latency import LatencyTable, network_ms
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.search import Search
from edgekd.prune.times import CutTimes

# Where the search aims, as a share of the target, and what is near enough below it.
AIM, NEAR = 0.95, 0.88
ROUNDS = 6

Write = Callable[[nn.Module, Path], object]


@dataclass(frozen=True)
class Timing:
    """A cut network's time over the time before the cut: what the table said, and what the clock did."""

    predicted: float
    measured: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Timed:
    """A network that takes at most its share of the time; ``tried`` are all that were measured on the way."""

    network: nn.Module
    plan: Plan
    timing: Timing
    tried: tuple[Timing, ...]


def prune_to_latency(
    prunable: Prunable, share: float, table: LatencyTable, write: Write, seconds: float = 1.5
) -> Timed:
    """Cuts the channels that matter least for the time they take, until the written file measures ``share``.

    The table of layer times proposes widths, and the clock has the last word: network and cut network are timed in
    turns, and where they miss the target the search aims anew by as much.

    Args:
        share: of the latency to keep, in (0, 1).
        table: at the precision of the files.
        write: writes a network as ONNX, as it will be deployed.
        seconds: for each timing.

    Raises:
        ModelError: the target cannot be reached; the message has the least that was.
    """
    with TemporaryDirectory(prefix="edgekd-prune-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        write(prunable.network, before)
        times = CutTimes(prunable, table)
        if new := times.measure():
            say(f"  prune: timed {new} layers for the table of this machine")
        times.calibrate(network_ms(before, table))
        search = Search(times.choices, times.share)
        found: list[tuple[Timing, nn.Module, Plan]] = []
        seen, aim = set(), AIM * share
        for _ in range(ROUNDS):
            widths = search.within(aim) or search.cheapest()
            if widths in seen:
                break
            seen.add(widths)
            keeps = [width // group.repeats for width, group in zip(widths, prunable.groups, strict=True)]
            network, plan = prunable.cut(keeps)
            write(network, after)
            timing = Timing(times.share(None, widths), *_ratio(after, before, table.setting.threads, seconds))
            say(f"  prune: predicted {timing.predicted:.1%} of the time, measured {timing.measured:.1%}")
            found.append((timing, network, plan))
            if NEAR * share <= timing.measured <= share:
                break
            aim *= AIM * share / timing.measured
    tried = tuple(timing for timing, _, _ in found)
    enough = [each for each in found if each[0].measured <= share]
    if not enough:
        least = min(tried, key=lambda timing: timing.measured)
        raise ModelError(
            f"pruning cannot reach {share:.0%} of the latency: the least that measured is {least.measured:.0%}; raise "
            "the target or max_ratio, or lower round_to"
        )
    timing, network, plan = max(enough, key=lambda each: each[0].measured)
    return Timed(network, plan, timing, tried)


def _ratio(after: Path, before: Path, threads: int, seconds: float) -> tuple[float, tuple[float, float] | None]:
    subjects = {"before": Subject(str(before)), "after": Subject(str(after))}
    records = measure(BenchPlan(subjects, "before", threads, 1, seconds, 2 * seconds, sittings=8))
    against = records["after"].latency_vs_reference
    assert against is not None
    return against["ratio"], tuple(against["ci95"]) if against["ci95"] else None
