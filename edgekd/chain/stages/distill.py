"""The distill stage: with the teacher run live, or with its answers on fixed views, computed once."""

from functools import partial

from torch import nn

from edgekd.bench.profile.cache import cache_folder
from edgekd.chain.objective import distillation, terms_of
from edgekd.chain.stage import Job, Modes, Result, stage
from edgekd.data.views import Views
from edgekd.distill.cache import TeacherCache
from edgekd.errors import TrainingError
from edgekd.train import world
from edgekd.train.device import make_fabric, trains_channels_last


@stage("distill", product="distilled", version=2)
def distill(job: Job) -> Result:
    """Trains the student on the teacher's answers and the labels."""
    history = job.fit(job.network, None if job.section.views is None else on_views)
    return Result(job.network, job.spec, {"history": history})


def on_views(job: Job, network: nn.Module) -> Modes:
    """Arguments of :func:`edgekd.train.fit` for a student that sees fixed views."""
    if job.teacher is None:
        raise TrainingError("a distillation has a teacher, and there is none")
    section, data = job.section, job.data
    terms = terms_of(section, network, job.teacher, job.spec.input_shape, len(data.train))
    # Without augmentations all views are the same image.
    views = Views(section.views if data.augment else 1, job.seed)
    teacher: nn.Module | TeacherCache = job.teacher
    if section.cache:
        layers = [path for term in terms for _, path in term.pairs]
        opened = partial(
            TeacherCache.open,
            cache_folder() / "teachers",
            job.teacher,
            data,
            views,
            layers=layers,
            channels_last=trains_channels_last(network, make_fabric(False).device),
        )
        teacher = world.in_turns(opened)
    return {"objective": distillation(section, teacher, terms), "views": views}
