"""The prune stage: cuts, each followed by training; every network on the way is kept until the stage is done."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.files import canonical_json, is_file, read_object, sha256, write_json
from edgekd.log import get_logger
from edgekd.models import count_macs, count_parameters
from edgekd.models.batchnorm import reestimate
from edgekd.progress import long_step
from edgekd.prune import halved_widths, widths
from edgekd.prune.depth import cut_depth, least_depth
from edgekd.prune.kept_scores import KeptScores, content_key
from edgekd.prune.prunable import matching_layers
from edgekd.prune.schedule import shares
from edgekd.prune.sensitivity import Sensitivity, scan
from edgekd.prune.sparse import GroupNorm
from edgekd.prune.weights import sensitivity_weights
from edgekd.stages.checkpoints import StageCheckpoints
from edgekd.stages.job import How, Result, Training
from edgekd.stages.prune.cutter import Cut, Cutter, PruneJob
from edgekd.stages.prune.figures import CutFigures
from edgekd.stages.prune.options import Prune
from edgekd.stages.validation import ValidationFigure
from edgekd.strict_json import JsonObject
from edgekd.tasks.tensors import Named
from edgekd.train import metric_of, outputs_of
from edgekd.train.history import History, history_from_json, history_to_json
from edgekd.user_cache import writable_cache

logger = get_logger(__name__)

# What is tried first towards an accuracy, how fine a step ends it, and how many there are at most.
FIRST_STEP, FINEST_STEP, MOST_STEPS = 0.7, 0.96, 8
# Validation samples that blocks are ranked on.
RANKING_SAMPLES = 512


def prune(job: PruneJob) -> Result:
    """Cut down to the goal in one step or several, and train what is left after each."""
    return _Pruning(job).run()


@dataclass(frozen=True)
class _Scan:
    """The weights of channel groups, and the cuts that they follow from."""

    weights: Mapping[str, float]
    sensitivity: list[Sensitivity]

    @classmethod
    def from_json(cls, document: JsonObject) -> "_Scan":
        return cls(document["weights"], [Sensitivity.from_json(each) for each in document["sensitivity"]])


class _Pruning:
    def __init__(self, job: PruneJob):
        self.job, self.stage, self.data = job, job.stage, job.data
        self.metric = job.data.task.metrics[0]
        self.checkpoints = StageCheckpoints(job.folder / "steps")
        self.history: History = []
        self.cuts: list[CutFigures] = []
        self.floor: float | None = None
        self.least_depth: float | None = None
        self.sensitivity: list[Sensitivity] | None = None

    def run(self) -> Result:
        section, before = self.stage, widths(self.job.network.eval())
        at = Result(self.job.network, self.job.spec, {})
        if section.sparse:
            at = self._train("sparse", at, section.sparse_epochs, sparsely)
        first = at.network
        if section.depth:
            at = self._cut("depth", at, partial(self._without_blocks, section.depth))
            if section.goal:
                at = self._train("after-depth", at, section.step_epochs)
        else:
            self.least_depth = least_depth(first, self.job.spec.inputs, cost=self._macs)
        cutter = Cutter(self.job, first, self._weights(at.network) if section.sensitivity else None)
        if section.largest_drop is not None:
            at = self._to_limit(at, cutter, section.largest_drop)
        elif section.goal:
            at = self._in_steps(at, cutter, section.goal)
        else:
            at = self._train("last", at, section.epochs)
        return Result(at.network, at.spec, self._metrics(first, at.network, before))

    def _in_steps(self, at: Result, cutter: Cutter, goal: str) -> Result:
        targets = shares(self.stage.cut_schedule, getattr(self.stage, goal), self.stage.steps or 1)
        for number, target in enumerate(targets, start=1):
            at = self._cut(f"cut-{number}", at, partial(cutter.to, goal, target))
            epochs = self.stage.epochs if number == len(targets) else self.stage.step_epochs
            at = self._train(f"step-{number}", at, epochs)
        return at

    def _to_limit(self, at: Result, cutter: Cutter, drop: float) -> Result:
        """Ever fewer multiply-accumulates while the trained network keeps the metric, in ever finer steps."""
        metric, own = self.metric, self._value(at.network)
        floor, step, kept, least = metric.limit(own, drop), FIRST_STEP, 1.0, None
        for number in range(1, (self.stage.steps or MOST_STEPS) + 1):
            target = kept * step
            try:
                tried = self._cut(f"cut-{number}", at, partial(cutter.to, "macs", target))
            except ModelError as error:
                if number == 1:
                    raise
                logger.info(f"  prune: {error}")
                break
            tried = self._train(f"step-{number}", tried, self.stage.epochs)
            value = self._value(tried.network)
            met = metric.keeps(value, floor)
            self.cuts[-1] = replace(self.cuts[-1], figure=ValidationFigure(metric, value), met=met)
            words = f"{'enough' if met else 'not enough'} ({metric.precisely(floor)} needed)"
            logger.info(f"  prune: {target:.1%} of the MACs give {metric.precisely(value)}, {words}")
            if met:
                at, kept, least = tried, target, number
            else:
                step = step**0.5
            if step > FINEST_STEP:
                break
        if least is None:
            raise ModelError(
                f"no cut that was tried keeps the validation {metric.title} within {drop:g} "
                f"{metric.unit_of_differences} of {metric.precisely(own)}: {self.cuts[-1].kept:.0%} of the MACs, the "
                f"most, gave {metric.precisely(value)}; raise {self.stage.goal}, epochs or steps"
            )
        self.floor = floor
        return at

    def _cut(self, name: str, at: Result, cut: Callable[[nn.Module], Cut]) -> Result:
        def make() -> Result:
            made = cut(at.network)
            if self.stage.batchnorm_batches:
                reestimate(made.network, self._inputs(self.stage.batchnorm_batches))
            spec = at.spec.then(Prune.name, made.plan) if made.plan else at.spec
            return Result(made.network, spec, replace(made.figures, name=name).to_json())

        kept = self.checkpoints.keep(name, make)
        self.cuts.append(CutFigures.from_json(kept.metrics))
        return kept

    def _train(self, name: str, at: Result, epochs: int, how: How | None = None) -> Result:
        done = len(self.history)

        def make() -> Result:
            section, rewind = self.stage.model_copy(update={"epochs": epochs}), self.stage.rewind
            begin = 1 - epochs / rewind if rewind else 0.0
            training = replace(self.job.training, section=section).having(
                log=lambda entry: self.job.log(entry.after(done)),
                begin=begin,
                name=f"{self.job.name}, {name}",
                # Its own folder: a checkpoint fits one network alone.
                folder=self.job.folder / f"training-{name}",
            )
            history = self.job.fit(at.network, how, training=training, spec=at.spec)
            return Result(at.network, at.spec, {"history": history_to_json(history)})

        kept = self.checkpoints.keep(name, make)
        self.history += [entry.after(done) for entry in history_from_json(kept.metrics["history"])]
        return kept

    def _without_blocks(self, depth: float, network: nn.Module) -> Cut:
        batches = self._inputs(self.stage.batchnorm_batches)
        samples = self.data.validation.select(torch.arange(min(RANKING_SAMPLES, len(self.data.validation))))
        reference = outputs_of(network, self.data, samples)

        def degradation(shorter: nn.Module) -> float:
            if batches:
                reestimate(shorter, batches)
            outputs = outputs_of(shorter, self.data, samples)
            return float(self.data.task.divergence(outputs, reference).sum())

        with long_step("ranking of blocks"):
            short = cut_depth(
                network,
                self.job.spec.inputs,
                cost=self._macs,
                target=depth,
                degradation=degradation,
                known=self._known_degradations(network, batches, reference),
            )
        figures = CutFigures("MACs", short.share, dropped=[path for path, _ in short.dropped])
        return Cut(short.network, short.plan, figures)

    def _known_degradations(
        self, network: nn.Module, batches: Sequence[Named], reference: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Return what is known of the network without blocks: candidates of a search drop the same ones first."""
        folder = writable_cache("depth", "blocks are ranked again for each cut")
        if folder is None:
            return {}
        # The code of a network may change while its weights stay; last bits change with the number of threads.
        outputs = [f"{float(each.double().norm()):.4g}" for each in reference.values()]
        content = content_key(network, self.job.spec.inputs, batches)
        about = [self.data.decoded_fingerprint, RANKING_SAMPLES, content, outputs]
        return KeptScores(folder / f"{sha256(canonical_json(about))[:16]}.json")

    def _weights(self, network: nn.Module) -> Mapping[str, float]:
        """Weigh layers by a scan that is kept: it may hold times, and measured again they would be others."""
        path = self.job.folder / "sensitivity.json"
        kept = _read(path)
        if kept is None:
            kept = self._scan(network)
            write_json(path, asdict(kept))
        self.sensitivity = kept.sensitivity
        return kept.weights

    def _scan(self, network: nn.Module) -> _Scan:
        section, shape = self.stage, self.job.spec.inputs
        cutter = Cutter(self.job, network)
        ranking = cutter.ranking(cutter.round_to)
        timed = self.job.needs.timed
        machine = cutter.machine().to_json() if timed else None
        with cutter.predictor(network) if timed else nullcontext() as latency:
            found = scan(
                network,
                shape,
                self._score,
                importance=ranking.importance,
                reduction=ranking.reduction,
                round_to=ranking.round_to,
                ignore=ranking.ignore,
                labelled=ranking.batches,
                loss=ranking.loss,
                batches=self._inputs(section.batchnorm_batches),
                cuts=section.sensitivity,
                cache=writable_cache("sensitivity", "the scan of layers is not kept"),
                latency=latency,
                latency_setting=canonical_json([self.job.needs.to_json(), machine]).decode(),
            )
        # What one sample changes: a share of all, and of a metric in units of its own such a share of that.
        whole = 1.0 if self.metric.unit == "%" else abs(found[0].uncut) or 1.0
        weights = sensitivity_weights(found, ranking.prunable(network, shape), whole / len(self.data.validation))
        return _Scan(weights, found)

    def _score(self, network: nn.Module) -> float:
        """Return the metric, negative where less of it is better."""
        value = self._value(network)
        return value if self.metric.better == "higher" else -value

    def _macs(self, network: nn.Module) -> int:
        return count_macs(network, self.job.spec.inputs)

    def _value(self, network: nn.Module) -> float:
        return metric_of(network, self.data, self.data.validation)

    def _inputs(self, count: int) -> list[Named]:
        return [inputs for inputs, _ in self.job.labelled(count)]

    def _metrics(self, first: nn.Module, last: nn.Module, before: Mapping[str, int]) -> JsonObject:
        after = widths(last) | halved_widths(last)
        is_in_units = self.sensitivity is not None and self.metric.unit != "%"
        macs, params = self._macs(last), count_parameters(last)
        kept = {"macs": macs / self._macs(first), "params": params / count_parameters(first)}
        return {
            "history": history_to_json(self.history),
            "macs": macs,
            "params": params,
            "kept": kept,
            "cuts": [each.to_json() for each in self.cuts],
            **({"floor": self.floor} if self.floor is not None else {}),
            # For advice: where no block can go, none is to be dropped.
            **({"least_depth": self.least_depth} if self.least_depth is not None else {}),
            **({"sensitivity": list(map(asdict, self.sensitivity))} if self.sensitivity is not None else {}),
            **({"sensitivity_of": self.metric.name} if is_in_units else {}),
            # A layer of a block that was dropped has no channels left.
            "widths": [{"layer": name, "before": before[name], "after": after.get(name, 0)} for name in before],
        }


def _read(path: Path) -> _Scan | None:
    try:
        return _Scan.from_json(read_object(path, "it is made again")) if is_file(path) else None
    except (EdgekdError, LookupError, TypeError):
        return None


def sparsely(job: PruneJob, network: nn.Module, training: Training) -> Training:
    """Draw weak channels to zero while training."""
    assert job.stage.sparse is not None
    ignored = [network.get_submodule(name) for name in matching_layers(network, job.stage.ignore)]
    regulariser = GroupNorm(network, job.spec.inputs, job.stage.sparse, ignored=ignored)
    return training.having(after_backward=regulariser.step)
