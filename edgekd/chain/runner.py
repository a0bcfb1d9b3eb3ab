"""Runs a recipe's stages in order; what is already done under its key is not done again."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import Any

from torch import nn

from edgekd.artifact import MODEL, WEIGHTS, Artifact, capture
from edgekd.chain.keys import stage_key
from edgekd.chain.log import RunLog
from edgekd.chain.network import restore
from edgekd.chain.plan import Start, start_of
from edgekd.chain.stage import KINDS, Job, Log
from edgekd.chain.store import Store
from edgekd.data import DataSet
from edgekd.files import canonical_json, sha256, sha256_file, storage, write_json
from edgekd.progress import say
from edgekd.recipe import Recipe

METRICS = "metrics.json"


@dataclass(frozen=True)
class Done:
    """A finished stage in the run folder; ``label`` is what reports call its network."""

    name: str
    label: str
    key: str
    folder: Path

    @property
    def artifact(self) -> Artifact:
        return Artifact.load(self.folder)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / METRICS).read_text())

    @cached_property
    def content(self) -> str:
        """A hash of the network alone: two stages that give the same network are the same to what follows."""
        return sha256(canonical_json([sha256_file(self.folder / name) for name in (MODEL, WEIGHTS)]))


@dataclass(frozen=True)
class Planned:
    """A stage that may have to run: its key is known before it does."""

    number: int
    kind: str
    section: Any
    label: str
    key: str
    start: Start | Done
    teacher: Done | None

    @property
    def place(self) -> str:
        return f"{self.number:02d}-{self.kind}"


class Runner:
    """The stages of one recipe in one run folder."""

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        folder: Path,
        watch: Callable[[str, dict[str, Any]], None] | None = None,
    ):
        self.recipe, self.data = recipe, data
        self.store = Store(folder / "stages")
        self.log = RunLog(folder / "log.jsonl")
        self.watch = watch

    def run(self) -> list[Done]:
        """The teacher and every stage's result, in order."""
        teacher_start = start_of(self.recipe.teacher, self.data, self.recipe.seed)
        teacher = self._do(self._plan(0, "teacher", self.recipe.teacher, "teacher", teacher_start, None))
        done = [teacher]
        student = self.recipe.student
        start: Start | Done = start_of(student, self.data, self.recipe.seed) if student else teacher
        for number, (section, label) in enumerate(zip(self.recipe.stages, self._labels(), strict=True), start=1):
            keeps = teacher if getattr(section, "teacher", True) or KINDS.find(section.name).needs else None
            start = self._do(self._plan(number, section.name, section, label, start, keeps))
            done.append(start)
        return done

    def _labels(self) -> list[str]:
        products = [KINDS.find(stage.name).product for stage in self.recipe.stages]
        return [
            product if products.count(product) == 1 else f"{product}-{products[: index + 1].count(product)}"
            for index, product in enumerate(products)
        ]

    def _plan(
        self, number: int, kind: str, section: Any, label: str, start: Start | Done, teacher: Done | None
    ) -> Planned:
        training = section.train if kind == "teacher" else section
        settings = training.model_dump(mode="json") if training else {}
        if needs := self._needs(kind):
            settings["needs"] = needs
        inputs = [start.content if isinstance(start, Done) else start.key, teacher.content if teacher else ""]
        key = stage_key(kind, KINDS.find(kind).version, settings, inputs, self.data, self.recipe.seed)
        return Planned(number, kind, section, label, key, start, teacher)

    def _needs(self, kind: str) -> dict[str, Any]:
        needs = KINDS.find(kind).needs
        return needs(self.recipe) if needs else {}

    def _do(self, planned: Planned) -> Done:
        folder = self.store.find(planned.place, planned.key)
        if folder is None:
            folder = self._execute(planned)
        else:
            say(f"  {planned.kind}: done before ({folder.name})")
        return Done(planned.kind, planned.label, planned.key, folder)

    def _execute(self, planned: Planned) -> Path:
        say(f"  {planned.kind}: starts")
        started = time.monotonic()
        workplace = self.store.workplace(planned.place, planned.key)
        goes_on = workplace.exists()
        network, spec = self._input(planned.start)
        teacher = planned.teacher.artifact if planned.teacher else None
        job = Job(
            name=planned.kind,
            network=network,
            spec=spec,
            section=planned.section,
            data=self.data,
            seed=self.recipe.seed,
            teacher=restore(teacher) if teacher else None,
            teacher_spec=teacher.spec if teacher else None,
            folder=workplace,
            log=self._watcher(planned.kind),
            needs=self._needs(planned.kind),
        )
        result = KINDS.find(planned.kind).run(job)
        with self.store.new(planned.place, planned.key) as folder:
            capture(result.network, result.spec).save(folder)
            write_json(folder / METRICS, result.metrics)
        if workplace.exists():
            with storage(workplace):
                rmtree(workplace)
        # Of a stage that went on from a checkpoint only the last part was timed, so it has no time.
        seconds = {} if goes_on else {"seconds": round(time.monotonic() - started, 2)}
        self.log.write("stage", name=planned.kind, key=planned.key, **seconds)
        return self.store.place(planned.place, planned.key)

    def _input(self, start: Start | Done) -> tuple[nn.Module, Any]:
        if isinstance(start, Start):
            return start.network(), start.spec
        artifact = start.artifact
        return restore(artifact), artifact.spec

    def _watcher(self, kind: str) -> Log:
        def log(entry: dict[str, Any]) -> None:
            self.log.write("epoch", stage=kind, **entry)
            if self.watch:
                self.watch(kind, entry)

        return log
