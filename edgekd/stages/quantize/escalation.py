"""Hold what a network in lower precision must keep on the validation samples, and the steps that were tried for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from edgekd.distill.ensemble import first_teacher
from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.stages.deployment import Precisions
from edgekd.stages.job import Job
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.quantize.steps import EscalationStep
from edgekd.stages.validation import ValidationFigure
from edgekd.strict_json import JsonObject
from edgekd.tasks.compare import noise
from edgekd.tasks.metric import Evidence, Metric
from edgekd.train import predictions_of
from edgekd.train.evaluate import evidence_of, value_of

logger = get_logger(__name__)

QuantizeJob = Job[Quantize, Precisions]
# Of a network, of each metric that is needed, in their order.
Values = tuple[float, ...]


@dataclass(frozen=True)
class Needed:
    """The worst value of a metric that is enough, and the reason."""

    metric: Metric
    floor: float
    why: str

    def is_kept_by(self, value: float) -> bool:
        """Tell whether ``value`` is enough."""
        return self.metric.keeps(value, self.floor)


@dataclass
class Escalation:
    """The steps that were tried, with the values on the validation samples of each.

    Attributes:
        needed: of the task's first metric, and of others that the budget bounds.
    """

    needed: tuple[Needed, ...]
    steps: list[EscalationStep] = field(default_factory=list)

    @property
    def metric(self) -> Metric:
        """Return the task's first metric."""
        return self.needed[0].metric

    def is_met(self, values: Values) -> bool:
        """Tell whether ``values`` are enough."""
        return not self.missed(values)

    def missed(self, values: Values) -> list[Metric]:
        """Return the metrics of which ``values`` are not enough."""
        pairs = zip(self.needed, values, strict=True)
        return [each.metric for each, value in pairs if not each.is_kept_by(value)]

    def keeps_trained(self, calibrated: Values, trained: Values, noise: float) -> bool:
        """Tell whether to keep trained weights rather than calibrated ones, by their values on the validation samples.

        If both are enough, the trained weights are kept unless the first metric is worse by more than ``noise``; if
        one of them is, that one; otherwise the better ones by the first metric are.
        """
        met = self.is_met(trained)
        if met != self.is_met(calibrated):
            return met
        lost = self.metric.drop(calibrated[0], trained[0])
        return lost <= 0 or (met and lost <= noise)

    def surely_misses(self, job: QuantizeJob, values: Values) -> str | None:
        """Return by how much ``values`` miss what is needed, or None where the samples cannot tell that they do."""
        for each, value in zip(self.needed, values, strict=True):
            lost = each.metric.drop(each.floor, value)
            if lost > noise_of(job, each.metric, value, value):
                less = f"{each.metric.scale * lost:.2f} {each.metric.unit_of_differences}".rstrip()
                return less if each.metric is self.metric else f"{less} of {each.metric.title}"
        return None

    def step(self, name: str, values: Values, **more: Any) -> bool:
        """Record a step with its values on the validation samples and further fields; return whether it is enough."""
        met = self.is_met(values)
        figure, *further = (
            ValidationFigure(each.metric, value) for each, value in zip(self.needed, values, strict=True)
        )
        self.steps.append(EscalationStep(name, figure, met, further=further or None, **more))
        floors = self._shown([each.floor for each in self.needed])
        words = f"{'enough' if met else 'not enough'} ({floors} needed)"
        logger.info(f"  quantize: {name} gives {self._shown(values)} on the validation samples, {words}")
        return met

    def _shown(self, values: Sequence[float]) -> str:
        first, *further = (each.metric.precisely(value) for each, value in zip(self.needed, values, strict=True))
        named = (f"{each.metric.title} {value}" for each, value in zip(self.needed[1:], further, strict=True))
        return ", ".join([first, *named])

    def skip(self, name: str, why: str) -> None:
        """Record that a step was skipped, and the reason."""
        self.steps.append(EscalationStep(name, skipped=why))

    def to_json(self) -> JsonObject:
        first, *further = self.needed
        more = {each.metric.name: {"floor": each.floor, "why": each.why} for each in further}
        return {
            **{"floor": first.floor, "why_floor": first.why},
            **({"further_floors": more} if more else {}),
            "rungs": [each.to_json() for each in self.steps],
        }


def escalation_of(job: QuantizeJob, own: Tensor) -> Escalation:
    """Return what ``job`` must keep: what the budget says, else what its own network has but for noise.

    Args:
        own: what its network predicts for the validation samples, (N, ...).

    Raises:
        ModelError: its network, or the teacher, gives no finite numbers.
    """
    _must_be_number(value_of(own, job.data, job.data.validation), "the network to quantise")
    first, *others = job.data.task.metrics
    bounds = {**({} if job.needs.drop is None else {first.name: job.needs.drop}), **job.needs.further}
    needed = [] if first.name in bounds and job.teacher is not None else [_of_network(job, own)]
    if job.teacher is not None:
        needed += [_of_budget(job, each, bounds[each.name]) for each in (first, *others) if each.name in bounds]
    return Escalation(tuple(needed))


def values_of(predictions: Tensor, job: QuantizeJob, needed: Sequence[Needed]) -> Values:
    """Return what ``predictions`` (N, ...) for the validation samples are worth by each metric that is ``needed``."""
    return tuple(value_of(predictions, job.data, job.data.validation, each.metric) for each in needed)


def noise_of(job: QuantizeJob, metric: Metric, first: float, second: float) -> float:
    """Return which difference of two values of ``metric`` the validation samples cannot tell."""
    data = job.data

    def evidence() -> Evidence:
        return evidence_of(predictions_of(job.network, data, data.validation), data, data.validation, metric)

    return noise(metric, len(data.validation), first, second, evidence)


def why_floor(metric: Metric, whose: str, value: float, by: str) -> str:
    """Say which value is enough: ``whose`` ``value``, less what may be lost, or more of it where less is better."""
    return f"{whose} {metric.precisely(value)}, {'less' if metric.better == 'higher' else 'plus'} {by}"


def _of_budget(job: QuantizeJob, metric: Metric, drop: float) -> Needed:
    assert job.teacher is not None
    data, first = job.data, first_teacher(job.teacher)
    own = job.teacher_predictions if first is job.teacher else predictions_of(first, data, data.validation)
    assert own is not None
    value = value_of(own, data, data.validation, metric)
    _must_be_number(value, "the teacher")
    allowed = f"the budget's {drop:g} {metric.unit_of_differences}".rstrip()
    return Needed(metric, metric.limit(value, drop), why_floor(metric, "the teacher's", value, allowed))


def _of_network(job: QuantizeJob, predictions: Tensor) -> Needed:
    metric, data = job.data.task.metrics[0], job.data
    own = value_of(predictions, data, data.validation)
    slack = metric.scale * noise_of(job, metric, own, own)
    told = f"what {len(data.validation)} samples can tell"
    return Needed(metric, metric.limit(own, slack), why_floor(metric, "the float network's", own, told))


def _must_be_number(value: float, whose: str) -> None:
    if math.isnan(value):
        raise ModelError(
            f"{whose} gives no finite numbers for some validation samples, so that nothing can be compared with it: "
            "train it again, with a lower lr or with clip_norm"
        )
