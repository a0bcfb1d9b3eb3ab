"""The stages of a recipe, run in order."""

from edgekd.data import DataSet
from edgekd.distill.combination import Space
from edgekd.errors import ModelError
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.stage_node import StageNode, Watch
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import Start, Starts
from edgekd.pipeline.teachers import Teachers
from edgekd.recipe import Recipe
from edgekd.stages import Stage
from edgekd.stages.teacher import Pretraining
from edgekd.stages.work import WORK


class StageRunner:
    """Runs the stages of ``recipe`` on ``data``, from the networks ``starts``."""

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        starts: Starts,
        nodes: NodeCache,
        log: RunLog,
        watch: Watch | None = None,
    ):
        self.recipe, self.data, self.starts = recipe, data, starts
        self.nodes, self.log, self.watch = nodes, log, watch

    def run(self) -> tuple[Teachers, list[StageResult]]:
        """Run what is left to do, and return the teachers, and the first of them with what each stage made of it."""
        teachers = self._teachers()
        return teachers, [teachers.members[0], *self._students(teachers)]

    def _teachers(self) -> Teachers:
        section, found = self.recipe.teacher, []
        for number, start in enumerate(self.starts.teachers, start=1):
            own = section.others[number - 2] if number > 1 else section
            label = f"teacher-{number}" if number > 1 else "teacher"
            found.append(self._run(0, Pretraining(train=own.train), label, start, None, start.seed))
        # Of labels that exclude none another, the mean of logits is the geometric mean of each one's two chances.
        space: Space = "probabilities" if self.data.task.outputs == "classes" else "logits"
        return Teachers(tuple(found), section.combine, section.weights, space)

    def _students(self, teachers: Teachers) -> list[StageResult]:
        start: Start | StageResult = self.starts.student or teachers.members[0]
        found = []
        for number, (stage, label) in enumerate(zip(self.recipe.stages, self._labels(), strict=True), start=1):
            try:
                start = self._run(number, stage, label, start, _known_to(stage, teachers), self.recipe.seed)
            except ModelError as error:
                raise ModelError(f"{self.recipe.place('stages', number - 1, stage.name)}: {error}") from error
            found.append(start)
        return found

    def _run(
        self, number: int, stage: Stage, label: str, start: Start | StageResult, teachers: Teachers | None, seed: int
    ) -> StageResult:
        needs = WORK[stage.name].needs(self.recipe)
        return self.nodes.make(
            StageNode(number, stage, label, start, teachers, self.data, seed, needs, self.log, self.watch)
        )

    def _labels(self) -> list[str]:
        products = [stage.product for stage in self.recipe.stages]
        return [
            product if products.count(product) == 1 else f"{product}-{products[: index + 1].count(product)}"
            for index, product in enumerate(products)
        ]


def _known_to(stage: Stage, teachers: Teachers) -> Teachers | None:
    if stage.learns_from_teacher:
        return teachers
    return teachers.first if stage.compares_with_teacher else None
