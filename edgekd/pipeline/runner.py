"""Runs a recipe's stages in order; what is already done under its key is not done again."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.artifact import capture
from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.data import DataSet
from edgekd.files import write_json
from edgekd.log import get_logger
from edgekd.pipeline.keys import stage_key
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.plan import Start, start_of, starts_of_teachers
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.teachers import Teachers
from edgekd.recipe import Recipe
from edgekd.stages import Stage
from edgekd.stages.job import Job, Log, Needs
from edgekd.stages.network import restore
from edgekd.stages.teacher import Pretraining

logger = get_logger(__name__)


@dataclass(frozen=True)
class Planned:
    """A stage that may have to run: its key is known before it does."""

    number: int
    stage: Stage
    label: str
    key: str
    start: Start | StageResult
    teachers: Teachers | None
    seed: int
    needs: Needs | None

    @property
    def name(self) -> str:
        # Of several teachers each is told from the others by its label.
        return self.label if isinstance(self.stage, Pretraining) else self.stage.name

    @property
    def place(self) -> str:
        return f"{self.number:02d}-{self.name}"


class Runner:
    """The stages of one recipe in one run folder.

    Attributes:
        teachers: those that the stages learned from, after :meth:`run`.
    """

    teachers: Teachers

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        folder: Path,
        watch: Callable[[str, dict[str, Any]], None] | None = None,
    ):
        self.recipe, self.data = recipe, data
        self.cache = ArtifactCache(folder / "stages")
        self.log = RunLog(folder / "log.jsonl", recipe.written)
        self.watch = watch

    def run(self) -> list[StageResult]:
        """The first teacher and every stage's result, in order."""
        self.teachers = self._teachers()
        done = [self.teachers.members[0]]
        student = self.recipe.student
        start: Start | StageResult = start_of(student, self.data, self.recipe.seed) if student else done[0]
        for number, (stage, label) in enumerate(zip(self.recipe.stages, self._labels(), strict=True), start=1):
            start = self._do(self._plan(number, stage, label, start, self._kept(stage), self.recipe.seed))
            done.append(start)
        return done

    def _teachers(self) -> Teachers:
        section, found = self.recipe.teacher, []
        for number, start in enumerate(starts_of_teachers(self.recipe, self.data), start=1):
            own = section.others[number - 2] if number > 1 else section
            label = f"teacher-{number}" if number > 1 else "teacher"
            stage = Pretraining(train=own.train)
            found.append(self._do(self._plan(0, stage, label, start, None, start.seed)))
        return Teachers(tuple(found), section.combine, section.weights)

    def _kept(self, stage: Stage) -> Teachers | None:
        """Return those that a stage learns from, or the one that it compares with."""
        if stage.learns_from_teacher:
            return self.teachers
        return self.teachers.first if stage.compares_with_teacher else None

    def _labels(self) -> list[str]:
        products = [stage.product for stage in self.recipe.stages]
        return [
            product if products.count(product) == 1 else f"{product}-{products[: index + 1].count(product)}"
            for index, product in enumerate(products)
        ]

    def _plan(
        self, number: int, stage: Stage, label: str, start: Start | StageResult, teachers: Teachers | None, seed: int
    ) -> Planned:
        settings, needs = stage.settings(), stage.needs(self.recipe)
        if needs:
            settings["needs"] = asdict(needs)
        inputs = [start.content if isinstance(start, StageResult) else start.key, teachers.content if teachers else ""]
        key = stage_key(stage.name, stage.version, settings, inputs, self.data, seed)
        return Planned(number, stage, label, key, start, teachers, seed, needs)

    def _do(self, planned: Planned) -> StageResult:
        folder = self.cache.find(planned.place, planned.key)
        if folder:
            logger.info(f"  {planned.name}: done before ({folder.name})")
        else:
            folder = self.cache.keep(planned.place, planned.key, partial(self._execute, planned))
        return StageResult(planned.name, planned.label, planned.key, folder)

    def _execute(self, planned: Planned, folder: Path) -> None:
        logger.info(f"  {planned.name}: starts")
        started = time.monotonic()
        workplace = self.cache.workplace(planned.place, planned.key)
        goes_on = workplace.exists()
        network, spec = self._input(planned.start)
        job = Job(
            name=planned.name,
            network=network,
            spec=spec,
            stage=planned.stage,
            data=self.data,
            seed=planned.seed,
            teacher=planned.teachers.network() if planned.teachers else None,
            teacher_specs=planned.teachers.specs if planned.teachers else (),
            folder=workplace,
            log=self._watcher(planned.name),
            needs=planned.needs,
        )
        result = planned.stage.run(job)
        capture(result.network, result.spec).save(folder)
        write_json(folder / METRICS, result.metrics)
        # Of a stage that went on from a checkpoint only the last part was timed, so it has no time.
        seconds = {} if goes_on else {"seconds": round(time.monotonic() - started, 2)}
        self.log.write("stage", name=planned.name, key=planned.key, **seconds)

    def _input(self, start: Start | StageResult) -> tuple[nn.Module, Any]:
        if isinstance(start, Start):
            return start.network(), start.spec
        artifact = start.artifact
        return restore(artifact), artifact.spec

    def _watcher(self, name: str) -> Log:
        def log(entry: dict[str, Any]) -> None:
            self.log.write("epoch", stage=name, **entry)
            if self.watch:
                self.watch(name, entry)

        return log
