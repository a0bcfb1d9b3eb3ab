"""The distill stage: with the teacher run live, or with its logits on fixed views, computed once; in generations."""

from dataclasses import replace
from functools import partial

from torch import nn

from edgekd.data.views import Views
from edgekd.distill.cache import TeacherCache
from edgekd.distill.ensemble import Ensemble
from edgekd.distill.objective import must_have_temperature
from edgekd.errors import TrainingError
from edgekd.models.copies import copied
from edgekd.stages.checkpoints import StageCheckpoints
from edgekd.stages.distill.options import Distill
from edgekd.stages.job import Job, Result, Training, Trial
from edgekd.stages.objective import between_generations, distillation, terms_of
from edgekd.train import distributed
from edgekd.train.device import make_fabric, trains_channels_last
from edgekd.train.history import History, history_from_json, history_to_json
from edgekd.user_cache import cache_folder, writable_cache

# Of the user's cache.
TEACHERS = "teachers"


def check(stage: Distill, trial: Trial) -> tuple[str, ...]:
    """Match the losses with layers of both networks, and of the student with itself where it teaches itself."""
    terms = terms_of(stage, trial.student, trial.teacher, trial.inputs, trial.samples, trial.task)
    if stage.temperature_schedule is not None:
        must_have_temperature(terms)
    if stage.generations > 1:
        own = between_generations(stage)
        terms_of(own, trial.student, trial.student, trial.inputs, trial.samples, trial.task)
    return ()


def distill(job: Job[Distill]) -> Result:
    """Train the student on the teacher's logits and the labels, then further generations on the student's own."""
    if job.stage.generations == 1:
        return Result(job.network, job.spec, {"history": history_to_json(_train(job))})
    return _in_generations(job)


def _in_generations(job: Job[Distill]) -> Result:
    """Born-again networks (Furlanello et al., 2018, section 3): each is taught by the one before."""
    checkpoints, epochs, history = StageCheckpoints(job.folder / "generations"), job.stage.epochs, []
    own, at = job, Result(job.network, job.spec, {})
    for number in range(1, job.stage.generations + 1):
        done = (number - 1) * epochs
        if number > 1:
            section = between_generations(job.stage)
            own = replace(job, teacher=at.network, teacher_specs=(at.spec,), stage=section)
        at = checkpoints.keep(f"generation-{number}", partial(_born, own, number, done))
        history += [entry.after(done, number) for entry in history_from_json(at.metrics["history"])]
    return Result(at.network, at.spec, {"history": history_to_json(history)})


def _born(job: Job[Distill], number: int, done: int) -> Result:
    own = replace(
        job,
        name=f"{job.name}, generation {number}",
        network=copied(job.network),
        # Its own order of the samples, as the paper trains each from a random seed of its own.
        seed=(job.seed + number - 1) % 2**32,
        folder=job.folder / f"training-{number}",
        log=lambda entry: job.log(entry.after(done, number)),
    )
    return Result(own.network, own.spec, {"history": history_to_json(_train(own))})


def _train(job: Job[Distill]) -> History:
    return job.fit(job.network, None if job.stage.views is None else on_views)


def on_views(job: Job[Distill], network: nn.Module, training: Training) -> Training:
    """Let the student see fixed views, whose teacher's logits may be computed once."""
    if job.teacher is None:
        raise TrainingError("a distillation has a teacher, and there is none")
    section, data = job.stage, job.data
    terms = terms_of(section, network, job.teacher, job.spec.inputs, len(data.train), data.task)
    # Without augmentations all views are the same image.
    views = Views((section.views or 1) if data.augment else 1, job.seed)
    live = job.running_teacher(terms)
    teacher: nn.Module | TeacherCache = live
    if section.cache and distributed.on_rank_zero(_is_cache_writable):
        layers = [path for term in terms for _, path in term.pairs]
        opened = partial(
            TeacherCache.open,
            cache_folder() / TEACHERS,
            live,
            data,
            views,
            layers=layers,
            key=job.teacher.rule if isinstance(job.teacher, Ensemble) else "",
            channels_last=trains_channels_last(network, make_fabric(False).device),
        )
        teacher = distributed.rank_zero_first(opened)
    return replace(training.having(views=views), objective=distillation(section, teacher, terms, data.task))


def _is_cache_writable() -> bool:
    return writable_cache(TEACHERS, "the teacher runs in every epoch") is not None
