"""One cut after another of a stage's network, each to a share of what the network had at first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import lcm
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekd.bench.target import Facts
from edgekd.devices.targets import LocalTarget, RemoteTarget, resolve_target
from edgekd.files import temporary_folder
from edgekd.prune import IMPORTANCES
from edgekd.prune.budget import Pruned, least_share, prune_to
from edgekd.prune.clock import Clock
from edgekd.prune.counts import COUNTS
from edgekd.prune.importance.gradients import Batches, Loss
from edgekd.prune.latency import LatencyTable, layers_of, network_ms, predictor
from edgekd.prune.latency_check import check_latency
from edgekd.prune.latency_target import prune_to_latency
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.verification import Unpruned
from edgekd.stages.deployment import Deployment, writer
from edgekd.stages.job import Job
from edgekd.stages.prune.check import explain_multiples
from edgekd.stages.prune.figures import CutFigures, CutTiming, KeptLayers
from edgekd.stages.prune.options import Prune
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import output_tensors
from edgekd.train.objective import total

PruneJob = Job[Prune, Deployment]

# The multiples that are tried where a rounding makes a network slower.
COARSER = (8, 16, 32)


@dataclass(frozen=True)
class Cut:
    """A smaller network, its plan, and what was found on the way."""

    network: nn.Module
    plan: Plan
    figures: CutFigures


@dataclass(frozen=True)
class Ranking:
    """How channels are ranked: the arguments of :class:`~edgekd.prune.prunable.Prunable`."""

    importance: str
    reduction: str | None
    scope: str
    round_to: int
    max_ratio: float
    ignore: Sequence[str]
    batches: Batches | None
    loss: Loss
    seed: int
    weights: Mapping[str, float] | None

    def prunable(self, network: nn.Module, shape: Shape | Signature) -> Prunable:
        return Prunable(network, shape, **vars(self))


class Cutter:
    """Cuts by the options of ``job``'s stage.

    Args:
        first: the network before any cut.
        weights: of channel groups, by measured sensitivity.
    """

    def __init__(self, job: PruneJob, first: nn.Module, weights: Mapping[str, float] | None = None):
        self.job, self.section, self.first, self.weights = job, job.stage, first, weights
        self.shape = job.spec.inputs
        self.round_to: int = self.section.round_to or job.needs.channels

    def to(self, goal: str, share: float, network: nn.Module) -> Cut:
        """Cut ``network``, which came of the first one, to ``share`` of what that one costs by ``goal``.

        Raises:
            ModelError: that share cannot be reached, or only by a slower network.
        """
        with explain_multiples(self.section, self.job.needs):
            return self._timed(network, share) if goal == "latency" else self._counted(goal, share, network)

    def _counted(self, goal: str, share: float, network: nn.Module) -> Cut:
        count = COUNTS.find(goal)
        whole = count.of(self.first, self.shape)
        relative = share * whole / count.of(network, self.shape)
        if relative >= 1:
            return Cut(network, [], CutFigures(count.words, share / relative))

        by_step: dict[int, Prunable] = {}

        def cut(step: int) -> Pruned:
            by_step[step] = self.ranking(step).prunable(network, self.shape)
            return prune_to(goal, relative, by_step[step])

        def figures(pruned: Pruned, step: int) -> CutFigures:
            least = least_share(goal, by_step[step]) * pruned.before / whole
            kept = _kept(by_step[step].unpruned)
            return CutFigures(count.words, pruned.after / whole, least=least, left_whole=kept)

        if not (self.section.check_latency and self.job.needs.timed):
            pruned = cut(self.round_to)
            return Cut(pruned.network, pruned.plan, figures(pruned, self.round_to))
        with (
            self.place() as place,
            Clock(self.first, self._write, self.threads, target=place, runtime=self.job.needs.runtime) as clock,
        ):
            checked = check_latency(cut, clock, self._roundings())
        timed = replace(
            figures(checked.pruned, checked.round_to),
            round_to=checked.round_to,
            timing=CutTiming.of(checked.timing),
            refused=[CutTiming.of(timing, step) for step, timing in checked.rejected],
        )
        return Cut(checked.pruned.network, checked.pruned.plan, timed)

    def _timed(self, network: nn.Module, share: float) -> Cut:
        prunable = self.ranking(self.round_to).prunable(network, self.shape)
        with self._table() as table:
            found = prune_to_latency(prunable, share, table, self._write, reference=self.first)
        figures = CutFigures(
            "time",
            found.timing.measured,
            timing=CutTiming.of(found.timing),
            tried=[CutTiming.of(timing) for timing in found.tried],
            left_whole=_kept(prunable.unpruned),
        )
        return Cut(found.network, found.plan, figures)

    def ranking(self, round_to: int) -> Ranking:
        """Return how channels are ranked, their numbers rounded to multiples of ``round_to``."""
        section = self.section
        gradients = IMPORTANCES.find(section.importance).gradients
        return Ranking(
            importance=section.importance,
            reduction=section.reduction,
            scope=section.scope,
            round_to=round_to,
            max_ratio=section.max_ratio,
            ignore=section.ignore,
            batches=None if gradients == "none" else list(self.job.labelled(section.importance_batches)),
            loss=partial(_loss, self.job.data.task),
            seed=self.job.seed,
            weights=self.weights,
        )

    @contextmanager
    def predictor(self, network: nn.Module) -> Iterator[Callable[[nn.Module], float]]:
        """Give a function from cuts of ``network`` to their time over its own, by the table of layer times."""
        with temporary_folder() as folder, self._table() as table:
            table.measure(layers_of(network, self.shape).values())
            path = folder / "network.onnx"
            self._write(network, path)
            yield predictor(network, self.shape, table, network_ms(path, table))

    @property
    def threads(self) -> int:
        return int(self.job.needs.threads)

    def place(self) -> LocalTarget | RemoteTarget:
        """Return the machine of the first target."""
        return resolve_target(self.job.needs.device)

    def machine(self) -> Facts:
        """Return the facts that times there depend on."""
        with self.place() as place:
            return place.facts(self.threads)

    @contextmanager
    def _table(self) -> Iterator[LatencyTable]:
        with self.place() as place:
            needs = self.job.needs
            yield LatencyTable(needs.precision, self.threads, target=place, runtime=needs.runtime)

    def _roundings(self) -> list[int]:
        return list(dict.fromkeys([self.round_to, *(lcm(self.round_to, step) for step in COARSER)]))

    def _write(self, network: nn.Module, path: Path) -> None:
        batches = (inputs for inputs, _ in self.job.labelled(1))
        writer(self.job.needs, self.shape, self.job.data.preprocess, batches)(network, path)


def _loss(task: Task, outputs: Any, stored: Tensor) -> Tensor:
    return total(task.loss(output_tensors(outputs), task.targets(stored)))


def _kept(unpruned: Sequence[Unpruned]) -> list[KeptLayers] | None:
    return [KeptLayers.of(each) for each in unpruned] or None
