"""A check before any training that a pruning can reach its goal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from edgekd.errors import RecipeError
from edgekd.models import count_macs
from edgekd.profiles import PORTABLE, PROFILES, runtime_of
from edgekd.prune import IMPORTANCES
from edgekd.prune.budget import must_reach
from edgekd.prune.counts import COUNTS
from edgekd.prune.depth import must_shorten
from edgekd.prune.importance import build_importance
from edgekd.prune.prunable import Prunable
from edgekd.prune.verification import UnreachableShare
from edgekd.runtime import RUNTIMES
from edgekd.stages.deployment import Deployment
from edgekd.stages.job import Trial
from edgekd.stages.prune.options import Prune


def check(stage: Prune, trial: Trial) -> tuple[str, ...]:
    """Name the layers that keep their width, for another reason than the recipe's.

    Raises:
        RecipeError: the goal is a latency that cannot be measured.
        EdgekdError: the goal cannot be reached, or the importance is not known.
    """
    deployed, shape = trial.needs, trial.inputs
    if stage.latency is not None and not deployed.timed:
        timed = " or ".join(name for name, runtime in RUNTIMES.items() if runtime.records_kernels)
        raise RecipeError(
            f"prune.latency is measured on the first target, and {deployed.device} with {deployed.runtime} "
            f"cannot be timed: put cpu or a registered device with {timed} first ('edgekd devices list'), or prune "
            "to a share of the MACs"
        )
    metric = trial.task.metrics[0]
    if stage.accuracy_drop is not None and metric.name != "accuracy":
        raise RecipeError(
            f"prune.accuracy_drop is of classification, and the task is {trial.task.name}: give drop, in "
            f"{metric.unit_of_differences} of {metric.title}"
        )
    build_importance(stage.importance, stage.reduction)
    if stage.depth is not None:
        must_shorten(trial.network(), shape, cost=lambda each: count_macs(each, shape), target=stage.depth)
    goal = stage.goal
    if goal is None:
        return ()
    prunable = _prunable(stage, trial)
    if goal in COUNTS and stage.depth is None and (stage.steps or 1) == 1:
        with explain_multiples(stage, deployed):
            must_reach(goal, getattr(stage, goal), prunable)
    return tuple(f"unpruned: {layers}" for layers in prunable.unpruned)


@contextmanager
def explain_multiples(stage: Prune, deployed: Deployment) -> Iterator[None]:
    """Say in the error of a share out of reach where the multiples of widths come from, if not from the recipe."""
    try:
        yield
    except UnreachableShare as error:
        if stage.round_to is not None:
            raise
        raise UnreachableShare(
            f"{error}; {_why_multiples(deployed)}: add 'round_to: {max(1, deployed.channels // 4)}' to this stage"
        ) from error


def _why_multiples(deployed: Deployment) -> str:
    trained = deployed.trained or deployed.file
    served = deployed.files if trained == PORTABLE.name else (trained,)
    widest = [each for each in served if PROFILES.find(each).channels == deployed.channels]
    block = f" ({' and '.join(_titles(widest))}'s block)" if widest else ""
    multiples = f"widths are multiples of {deployed.channels}{block}"
    if len(served) < 2:
        return f"your targets' {multiples}"
    return f"your targets ({', '.join(_titles(served))}) share one training, whose {multiples}"


def _titles(profiles: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(runtime.title for each in profiles if (runtime := runtime_of(each))))


def _prunable(stage: Prune, trial: Trial) -> Prunable:
    ranked = partial(
        Prunable,
        scope=stage.scope,
        round_to=stage.round_to or trial.needs.channels,
        max_ratio=stage.max_ratio,
        ignore=stage.ignore,
    )
    if IMPORTANCES.find(stage.importance).gradients == "none":
        ranked = partial(ranked, importance=stage.importance)
    return ranked(trial.network(), trial.inputs)
