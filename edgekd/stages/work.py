"""The work of each stage: what it needs of a recipe, what it tries before a run, and what it does in one.

Options of stages are read without PyTorch, and their work is done with it: the two are apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgekd.stages.deployment import deployment, precisions
from edgekd.stages.distill.options import Distill
from edgekd.stages.distill.work import check as check_distillation
from edgekd.stages.distill.work import distill
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.factorize.work import check as check_factorization
from edgekd.stages.factorize.work import factorize
from edgekd.stages.job import Job, Needs, Result, Trial
from edgekd.stages.prune.check import check as check_pruning
from edgekd.stages.prune.options import Prune
from edgekd.stages.prune.work import prune
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.quantize.work import check as check_quantization
from edgekd.stages.quantize.work import quantize
from edgekd.stages.stage import Surroundings
from edgekd.stages.teacher import Pretraining
from edgekd.train.history import history_to_json
from edgekd.train.objective import TaskLoss


def needs_nothing(recipe: Surroundings) -> None:
    return None


def accepts(stage: Any, trial: Trial) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class StageWork:
    """The work of one kind of stage.

    Attributes:
        run: does it: a function of the job's network, options, data, teacher and seed alone.
        check: tries on untrained networks what a stage's options need of them. It returns what the user should know,
            and raises EdgekdError where the stage could not do its work.
        needs: finds what the work depends on apart from the stage's options; the stage's content key covers that too.
    """

    run: Callable[[Job], Result]
    check: Callable[[Any, Trial], tuple[str, ...]] = accepts
    needs: Callable[[Surroundings], Needs | None] = needs_nothing


def pretrain(job: Job[Pretraining]) -> Result:
    """Train the teacher on the labels, or take its checkpoint as it is."""
    options = job.stage.train
    if options is None:
        return Result(job.network.eval(), job.spec, {"history": []})
    training = replace(job.training, objective=TaskLoss(job.data.task, options.label_smoothing))
    return Result(job.network, job.spec, {"history": history_to_json(job.fit(job.network, training=training))})


WORK: dict[str, StageWork] = {
    Pretraining.name: StageWork(pretrain),
    Distill.name: StageWork(distill, check_distillation),
    Factorize.name: StageWork(factorize, check_factorization),
    Prune.name: StageWork(prune, check_pruning, deployment),
    Quantize.name: StageWork(quantize, check_quantization, precisions),
}
