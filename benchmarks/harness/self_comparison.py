"""Does the interval of a ratio hold the quiet ratio, whatever else the machine does?

    python benchmarks/harness/self_comparison.py --json benchmarks/results/harness/self_comparison.json

Two files of equal length, of lengths as 1 to 3 and as 1 to 15, on one and on two threads, on this machine and through
SSH on its loopback address: each is compared over and over on the quiet machine, beside 1, 2, 4 and 8 busy processes,
and beside a compilation. The quiet ratio is measured longer, before and after each run. A comparison counts as right if
its 95 % interval holds the quiet ratio of its run, or if it says itself that it is invalid. Beside it stands what the
ratio of wall times would have said. On the quiet machine a file with 5 % more work must be found slower, too.

Each comparison goes the way of ``edgekd bench A --against B``, early stopping and all, in less time (the settings are
recorded). Loads take turns, so that what the machine does over the hours meets all of them. A cell is called
LOAD/PAIR/THREADS/WAY, and ``--cells 'busy-*/1:15/1/here'`` takes those that match. With ``--json FILE`` results are
kept as they come in FILE's .part.jsonl: a run that was stopped, or that ``--minutes`` ended, goes on from there, and
one of more cells or of more comparisons ``--each`` uses those of some cells. Without that file a run goes on from FILE
itself, if FILE has fewer comparisons of a cell and is of the same processor.
"""

import json
import random
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, options, say
from harness.cells import EACH, LOADS, PAIRS, PLANTED, Cell, Truths, by_load, cells, goals, run_of, summary, truths_of
from harness.planted import instructions, repeated_convs
from neighbours import busy, compiling
from repeats import keep, lines
from rich.console import Console
from rich.table import Table

from edgekd.bench import Plan, Workload, fingerprint
from edgekd.bench.runner import uncertainty
from edgekd.bench.target import LocalTarget
from edgekd.devices.registry import Device
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import EdgekdError
from edgekd.formatting import ABSENT
from edgekd.stats.ratios import ratio_over_launches, widened

QUICK_EACH, SEED = 2, 0
# Without the planted slowdown: its instructions are counted for most of a minute.
QUICK_CELLS = ["quiet/1:15/1/ssh", "busy-4/1:15/1/here", "busy-2/1:1/2/here"]
# 0.1 ms a layer: 9 KiB of weights each and small images, so that neighbours do not take the cache away.
SIZE, PLANTED_SIZE, PLANTED_LAYERS = 48, 24, (20, 21)
# Less than edgekd bench takes, so that a comparison takes four seconds on a quiet machine. With less still, eight busy
# processes would leave a launch too few rounds of the longest pair.
SETTINGS: dict[str, Any] = {
    "seconds": 0.9,
    "max_seconds": 1.8,
    "launches": 6,
    "warmup_s": 0.03,
    "resolution": 0.05,
    "width": 1.0,
}
LONG: dict[str, Any] = {**SETTINGS, "seconds": 6.0, "max_seconds": 6.0, "launches": 20}
QUICK_LONG: dict[str, Any] = {**SETTINGS, "max_seconds": 0.9}
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")

Files = dict[str, tuple[Path, Path]]
Targets = dict[str, LocalTarget | RemoteTarget]
Result = dict[str, Any]


def main() -> None:
    arguments = options(
        __doc__,
        each={"type": int, "metavar": "N", "help": f"comparisons in each cell ({EACH})"},
        minutes={"type": float, "default": float("inf"), "help": "end after these minutes, and go on next time"},
        cells={"nargs": "+", "metavar": "NAME", "help": "cells to compare, as patterns (all)"},
    )
    started, quick = monotonic(), arguments.quick
    wanted = cells(arguments.cells or (QUICK_CELLS if quick else ["*"]))
    if not wanted:
        sys.exit(
            f"no cell is called {' or '.join(arguments.cells)}; one is called {Cell('busy-2', '1:3', 1, 'here').name}"
        )
    each = arguments.each or (QUICK_EACH if quick else EACH)
    kept = Kept(arguments.json, each, QUICK_LONG if quick else LONG)
    pairs = sorted({(cell.pair, cell.threads) for cell in wanted if cell.pair != PLANTED})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.out)))
        files, targets = write_files(folder), {"here": LocalTarget(), **loopback(stack, wanted, folder)}
        present = [cell for cell in wanted if cell.way in targets]
        work = planted_work(files) if any(cell.pair == PLANTED for cell in wanted) else None
        take_truths(kept, pairs, files)
        # The same readings follow in the end, and belong to the minutes.
        latest = started + 60 * arguments.minutes - (monotonic() - started)
        complete = take_comparisons(kept, present, each, files, targets, folder, latest)
        take_truths(kept, pairs, files)
    truths = {f"{pair}/{threads}": truths_of(kept.truths(pair, threads)) for pair, threads in pairs}
    taken = {cell: kept.comparisons(cell)[: cell.comparisons(each)] for cell in present}
    found = [summary(cell, ones, truths.get(f"{cell.pair}/{cell.threads}")) for cell, ones in taken.items() if ones]
    show(found)
    for name in (name for name, runs in truths.items() if any(each["moved"] for each in runs.values())):
        say(f"{name}: the quiet ratio moved by more than its intervals between the readings of a run")
    if not complete:
        say("the minutes are over: the same command goes on from here")
    elif not arguments.cells:
        kept.forget()
    figures = {
        **{"settings": SETTINGS, "settings_of_quiet_ratios": kept.long, "each": each, "complete": complete},
        **{"sched_autogroup": AUTOGROUP.read_text().strip() if AUTOGROUP.exists() else None},
        **{"absent": sorted({cell.way for cell in wanted} - set(targets)), "minutes": (monotonic() - started) / 60},
        **{"cells": found, "loads": by_load(found), "quiet_ratios": by_run(truths), "planted_work": work},
        **{"comparisons": [one for ones in taken.values() for one in ones]},
    }
    finish(arguments, figures, goals(found, [each for runs in truths.values() for each in runs.values()], work))


class Kept:
    """The results so far, in a file of a line each; those of other settings are left aside."""

    def __init__(self, record: Path | None, each: int, long: dict[str, Any]):
        self.path, self.long = record and record.with_suffix(".part.jsonl"), long
        self.cpu: str = fingerprint().to_json()["cpu"]["model"]
        if record and self.path and not self.path.exists():
            for one in recorded(record, each):
                keep(self.path, one)
        self.results = [one for one in lines(self.path) if one["settings"] in (SETTINGS, long)]
        self.run = 1 + max(map(run_of, self.results), default=-1)
        if others := {one["cpu"] for one in self.results} - {self.cpu}:
            sys.exit(f"{self.path} is of another processor, {others.pop()} and not {self.cpu}: give another --json")

    def add(self, result: Result) -> None:
        self.results.append({"cpu": self.cpu, "run": self.run, **result})
        keep(self.path, self.results[-1])

    def truths(self, pair: str, threads: int) -> list[Result]:
        return [one for one in self.results if one["cell"] == [pair, threads]]

    def comparisons(self, cell: Cell) -> list[Result]:
        return [one for one in self.results if one["cell"] == cell.name]

    def forget(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


def recorded(path: Path, each: int) -> list[Result]:
    """Return the readings and comparisons of a record that a run of ``each`` comparisons a cell goes on from."""
    record = json.loads(path.read_text()) if path.exists() else {}
    if "loads" not in record or (record["complete"] and record["each"] >= each):
        return []
    truths = [truth for runs in record["quiet_ratios"].values() for truth in runs]
    return [*(one for truth in truths for one in truth["readings"]), *record["comparisons"]]


def by_run(truths: dict[str, Truths]) -> dict[str, list[Result]]:
    return {name: [{"run": run, **truth} for run, truth in runs.items()] for name, runs in truths.items()}


def write_files(folder: Path) -> Files:
    """Write the reference and the model of each pair, with weights of their own."""
    sizes = {**dict.fromkeys(PAIRS, SIZE), PLANTED: PLANTED_SIZE}
    return {
        pair: (
            repeated_convs(folder / f"{first}-layers-of-{sizes[pair]}.onnx", first, size=sizes[pair]),
            repeated_convs(folder / f"{second}-layers-again-of-{sizes[pair]}.onnx", second, size=sizes[pair], seed=1),
        )
        for pair, (first, second) in {**PAIRS, PLANTED: PLANTED_LAYERS}.items()
    }


def loopback(stack: ExitStack, wanted: list[Cell], folder: Path) -> Targets:
    """Return this machine as a device behind an SSH server of its own, where a cell asks for that."""
    if not any(cell.way == "ssh" for cell in wanted):
        return {}
    from tests.devices.server import Server
    from tests.needs import missing

    if reason := missing("sshd", "ssh", "ssh-keygen"):
        say(f"absent: ssh; {reason}")
        return {}
    (folder / "sshd").mkdir()
    server = Server(folder / "sshd").start()
    stack.callback(server.stop)
    device = Device("loopback", "board", python=sys.executable, ssh_config=str(server.config))
    return {"ssh": stack.enter_context(RemoteTarget(device))}


def planted_work(files: Files) -> float:
    """Return how many times the instructions of one planted file the other takes."""
    fewer, more = (instructions(path) for path in files[PLANTED])
    return more / fewer


def take_truths(kept: Kept, pairs: list[tuple[str, int]], files: Files) -> None:
    """Measure the quiet ratio of each pair once more, and end the program where there is none at all."""
    for pair, threads in pairs:
        say(f"the quiet ratio of {pair} on {threads} threads")
        reading = compared(files[pair], threads, SEED, kept.long, LocalTarget())
        if reading["valid"]:
            kept.add({"cell": [pair, threads], **reading})
        elif not kept.truths(pair, threads):
            sys.exit(f"{pair} on {threads} threads: what others take leaves no quiet ratio; stop them, and start again")


def take_comparisons(
    kept: Kept, wanted: list[Cell], each: int, files: Files, targets: Targets, folder: Path, latest: float
) -> bool:
    """Compare in rounds over the loads, a comparison of each cell a round; tell whether all were made in time."""
    rounds = max(cell.comparisons(each) for cell in wanted)
    for number in range(rounds):
        order = random.Random(f"{SEED} {number}")
        for load in order.sample(list(LOADS), len(LOADS)):
            there = [
                cell
                for cell in wanted
                if cell.load == load and len(kept.comparisons(cell)) <= number < cell.comparisons(each)
            ]
            if not there:
                continue
            with loaded(load, folder):
                for cell in order.sample(there, len(there)):
                    if monotonic() > latest:
                        return False
                    result = compared(files[cell.pair], cell.threads, number, SETTINGS, targets[cell.way])
                    kept.add({"cell": cell.name, "number": number, **result})
        say(f"round {number + 1} of {rounds}")
    return True


def loaded(load: str, folder: Path) -> AbstractContextManager[None]:
    return compiling(folder) if load == "compile" else busy(LOADS[load])


def compared(
    pair: tuple[Path, Path], threads: int, seed: int, settings: dict[str, Any], target: LocalTarget | RemoteTarget
) -> Result:
    reference, model = (Workload(str(path)) for path in pair)
    plan = Plan({"reference": reference, "model": model}, "reference", threads, seed=seed, **settings)
    started = monotonic()
    try:
        records = target.latency(plan)
    except EdgekdError as error:
        return {"settings": settings, "error": str(error), "valid": False, "seconds": monotonic() - started}
    ours, theirs = records["model"], records["reference"]
    ratio, costs = ours.latency_vs_reference, [record.cost_ms for record in (theirs, ours)]
    taken = [cost.taken for cost in costs if cost]
    wall, of_launches = ratio_over_launches(ours.raw_ns, theirs.raw_ns, seed)
    wall_interval = of_launches and widened(wall, of_launches, uncertainty(max(taken, default=0.0)))
    return {
        "settings": settings,
        "ratio": ratio and ratio.ratio,
        "ci95": ratio and ratio.ci95,
        "valid": ours.valid,
        "codes": [warning.code for warning in ours.warnings],
        "cost_ms": [cost and cost.p50 for cost in costs],
        "rounds": [cost and [cost.rounds, cost.of] for cost in costs],
        "taken": taken,
        "real_time": any(cost.real_time for cost in costs if cost),
        "wall": {"ratio": wall, "ci95": wall_interval, "p50_ms": [each.latency_ms.p50 for each in (theirs, ours)]},
        "launches": len(ours.raw_ns),
        "seconds": monotonic() - started,
    }


def show(found: list[Result]) -> None:
    table = Table(
        "Cell", "n", "Right", "Invalid", "95 % of right", "Error", "Wall right", "Wall error", "Taken", "s each"
    )
    for one in found:
        wall = f"{one['wall_held']} of {one['walls']}" if "walls" in one else ABSENT
        table.add_row(
            "/".join(str(one[key]) for key in ("load", "pair", "threads", "way")),
            *(str(one["n"]), str(one["held"]), str(one["invalid"]), "{:.0%}–{:.0%}".format(*one["share_ci95"])),
            *(shown(one.get("median_error")), wall, shown(one.get("wall_median_error"))),
            *(shown(one.get("median_taken")), f"{one['seconds']:.1f}"),
        )
    Console(width=130).print(table)


def shown(share: float | None) -> str:
    return ABSENT if share is None else f"{share:.1%}"


if __name__ == "__main__":
    main()
