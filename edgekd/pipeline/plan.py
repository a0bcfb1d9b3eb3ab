"""The plan of a run: its data and networks, and what can be tried on them before any time is spent."""

from dataclasses import dataclass, replace

from edgekd.data import DataSet, load_data
from edgekd.errors import EdgekdError, RecipeError
from edgekd.models import count_macs, count_parameters
from edgekd.pipeline.network_check import CheckInputs, check_inputs, check_network
from edgekd.pipeline.start import Start, Starts, starts_of
from edgekd.recipe import Recipe, Stage
from edgekd.stages.job import Trial
from edgekd.stages.work import WORK
from edgekd.tasks.task import Task
from edgekd.train.batches import batches
from edgekd.train.transfer import Transfer


@dataclass(frozen=True)
class Size:
    params: int
    macs: int


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run, made without training anything."""

    data: DataSet
    starts: Starts
    teachers: tuple[Size, ...]
    student: Size
    notes: tuple[str, ...] = ()
    """What its user should know of its stages, such as layers that pruning leaves whole."""

    @property
    def sizes(self) -> dict[str, Size]:
        """Return the size of each network, by what it is to the others."""
        teacher, *others = self.teachers
        numbered = {f"teacher {number}": each for number, each in enumerate(others, start=2)}
        return {"teacher": teacher, **numbered, "student": self.student}


def plan(recipe: Recipe, data: DataSet | None = None) -> RunPlan:
    """Load the data and build the networks, to find what cannot work before any time is spent.

    Args:
        data: the recipe's, where it is loaded already.
    """
    data = data or load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
    starts, inputs = starts_of(recipe, data), check_inputs(data)
    first, *rest = (recipe.teacher, *recipe.teacher.others)
    learns = [first.train is not None or recipe.student is None, *(each.train is not None for each in rest)]
    teachers = [
        size_of(each, inputs, data.task, trained) for each, trained in zip(starts.teachers, learns, strict=True)
    ]
    student = teachers[0]
    if starts.student is not None:
        student = size_of(starts.student, inputs, data.task)
        must_shrink(recipe, teachers[0], student)
    return RunPlan(data, starts, tuple(teachers), student, must_compress(recipe, starts, len(data.train), data.task))


def size_of(start: Start, inputs: CheckInputs, task: Task, trained: bool = True) -> Size:
    """Build the network and run it on ``inputs``, so that what does not fit the data is found before any training."""
    network = start.network()
    check_network(network, start.spec, inputs, task, trained)
    return Size(count_parameters(network), count_macs(network, start.spec.inputs))


def must_compress(recipe: Recipe, starts: Starts, samples: int, task: Task) -> tuple[str, ...]:
    """Try what the stages need of the networks before hours of training lead up to them.

    Returns what its user should know of each stage, a line each.
    """
    first = trial_of(recipe, recipe.stages[0], starts, samples, task)
    for own, teacher in zip(starts.teachers, (recipe.teacher, *recipe.teacher.others), strict=True):
        if teacher.train is not None:
            Transfer(own.network(), teacher.train)
    notes: list[str] = []
    for number, stage in enumerate(recipe.stages):
        work = WORK[stage.name]
        trial = replace(first, needs=work.needs(recipe))
        try:
            Transfer(first.student, stage)
            notes += [f"{stage.name:8} {note}" for note in work.check(stage, trial)]
        except EdgekdError as error:
            raise type(error)(f"{recipe.place('stages', number, stage.name)}: {error}") from error
    return tuple(notes)


def trial_of(recipe: Recipe, stage: Stage, starts: Starts, samples: int, task: Task) -> Trial:
    """Return the untrained networks of ``recipe``, and what ``stage`` needs of it."""
    start = starts.first
    student, taught = start.network().eval(), starts.teachers[0].network().eval()
    needs = WORK[stage.name].needs(recipe)
    return Trial(start.network, student, taught, start.spec.inputs, samples, task, needs)


def must_shrink(recipe: Recipe, teacher: Size, student: Size) -> None:
    """Refuse a student with more parameters than its teacher: whatever follows, it is no compression."""
    assert recipe.student is not None
    if student.params > teacher.params:
        raise RecipeError(
            f"student {recipe.student.model} has {student.params:,} parameters, more than the "
            f"{teacher.params:,} of the teacher {recipe.teacher.model}: name a smaller student, or leave "
            "student out to compress the teacher's own network"
        )


def resolve_training(recipe: Recipe, data: DataSet) -> Recipe:
    """Return ``recipe`` with what each stage's training takes, where it leaves that to the data and the task."""
    return recipe.trained_for(len(batches(data, recipe.seed, 0)))
