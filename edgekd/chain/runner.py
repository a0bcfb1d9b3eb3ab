"""Runs a recipe's stages in order; what is already done under its key is not done again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.artifact import capture
from edgekd.chain.done import Done
from edgekd.chain.keys import stage_key
from edgekd.chain.log import RunLog
from edgekd.chain.names import METRICS
from edgekd.chain.network import restore
from edgekd.chain.plan import Start, start_of, starts_of_teachers
from edgekd.chain.stage import KINDS, Job, Log
from edgekd.chain.store import Store
from edgekd.chain.teachers import Teachers
from edgekd.data import DataSet
from edgekd.files import write_json
from edgekd.log import get_logger
from edgekd.recipe import Recipe

logger = get_logger(__name__)


@dataclass(frozen=True)
class Planned:
    """A stage that may have to run: its key is known before it does."""

    number: int
    kind: str
    section: Any
    label: str
    key: str
    start: Start | Done
    teachers: Teachers | None
    seed: int

    @property
    def name(self) -> str:
        return self.label if self.kind == "teacher" else self.kind

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
        self.store = Store(folder / "stages")
        self.log = RunLog(folder / "log.jsonl", recipe.written)
        self.watch = watch

    def run(self) -> list[Done]:
        """The first teacher and every stage's result, in order."""
        self.teachers = self._teachers()
        done = [self.teachers.members[0]]
        student = self.recipe.student
        start: Start | Done = start_of(student, self.data, self.recipe.seed) if student else done[0]
        for number, (section, label) in enumerate(zip(self.recipe.stages, self._labels(), strict=True), start=1):
            start = self._do(self._plan(number, section.name, section, label, start, self._kept(section)))
            done.append(start)
        return done

    def _teachers(self) -> Teachers:
        section, found = self.recipe.teacher, []
        for number, start in enumerate(starts_of_teachers(self.recipe, self.data), start=1):
            own = section.others[number - 2] if number > 1 else section
            label = f"teacher-{number}" if number > 1 else "teacher"
            found.append(self._do(self._plan(0, "teacher", own, label, start, None, start.seed)))
        return Teachers(tuple(found), section.combine, section.weights)

    def _kept(self, section: Any) -> Teachers | None:
        """Those that a stage learns from, or the one that it compares with."""
        if getattr(section, "teacher", True):
            return self.teachers
        return self.teachers.first if KINDS.find(section.name).needs else None

    def _labels(self) -> list[str]:
        products = [KINDS.find(stage.name).product for stage in self.recipe.stages]
        return [
            product if products.count(product) == 1 else f"{product}-{products[: index + 1].count(product)}"
            for index, product in enumerate(products)
        ]

    def _plan(
        self,
        number: int,
        kind: str,
        section: Any,
        label: str,
        start: Start | Done,
        teachers: Teachers | None,
        seed: int | None = None,
    ) -> Planned:
        seed = self.recipe.seed if seed is None else seed
        training = section.train if kind == "teacher" else section
        settings = training.model_dump(mode="json") if training else {}
        if needs := self._needs(kind):
            settings["needs"] = needs
        inputs = [start.content if isinstance(start, Done) else start.key, teachers.content if teachers else ""]
        key = stage_key(kind, KINDS.find(kind).version, settings, inputs, self.data, seed)
        return Planned(number, kind, section, label, key, start, teachers, seed)

    def _needs(self, kind: str) -> dict[str, Any]:
        needs = KINDS.find(kind).needs
        return needs(self.recipe) if needs else {}

    def _do(self, planned: Planned) -> Done:
        folder = self.store.find(planned.place, planned.key)
        if folder:
            logger.info(f"  {planned.name}: done before ({folder.name})")
        else:
            folder = self.store.keep(planned.place, planned.key, partial(self._execute, planned))
        return Done(planned.name, planned.label, planned.key, folder)

    def _execute(self, planned: Planned, folder: Path) -> None:
        logger.info(f"  {planned.name}: starts")
        started = time.monotonic()
        workplace = self.store.workplace(planned.place, planned.key)
        goes_on = workplace.exists()
        network, spec = self._input(planned.start)
        job = Job(
            name=planned.name,
            network=network,
            spec=spec,
            section=planned.section,
            data=self.data,
            seed=planned.seed,
            teacher=planned.teachers.network() if planned.teachers else None,
            teacher_specs=planned.teachers.specs if planned.teachers else (),
            folder=workplace,
            log=self._watcher(planned.name),
            needs=self._needs(planned.kind),
        )
        result = KINDS.find(planned.kind).run(job)
        capture(result.network, result.spec).save(folder)
        write_json(folder / METRICS, result.metrics)
        # Of a stage that went on from a checkpoint only the last part was timed, so it has no time.
        seconds = {} if goes_on else {"seconds": round(time.monotonic() - started, 2)}
        self.log.write("stage", name=planned.name, key=planned.key, **seconds)

    def _input(self, start: Start | Done) -> tuple[nn.Module, Any]:
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
