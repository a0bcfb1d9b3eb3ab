"""A stage of a run as a node."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torch import nn

from edgekd.artifact import capture
from edgekd.artifact_cache import METRICS
from edgekd.data import DataSet
from edgekd.files import write_json
from edgekd.log import get_logger
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import Node
from edgekd.pipeline.stage_inputs import TASK_CODE, StageInputs, why_again
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import Start
from edgekd.pipeline.teachers import Teachers
from edgekd.spec import Spec
from edgekd.stages import Stage
from edgekd.stages.job import Job, Needs
from edgekd.stages.network import restore
from edgekd.stages.teacher import Pretraining
from edgekd.stages.work import WORK
from edgekd.train import Epoch

logger = get_logger(__name__)
Watch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class StageNode(Node[StageResult]):
    """The network that a stage makes of another one.

    Attributes:
        number: of the stage in the recipe; teachers have 0.
        label: what reports call the network.
        teachers: those that the stage learns from, or compares with.
        watch: called with the stage's name and each epoch.
    """

    number: int
    stage: Stage
    label: str
    start: Start | StageResult
    teachers: Teachers | None
    data: DataSet
    seed: int
    needs: Needs | None
    log: RunLog
    watch: Watch | None = None

    within: ClassVar[str] = "stages"

    @property
    def stage_name(self) -> str:
        # A label distinguishes one of several teachers.
        return self.label if isinstance(self.stage, Pretraining) else self.stage.name

    @property
    def name(self) -> str:
        return f"{self.number:02d}-{self.stage_name}"

    @cached_property
    def inputs(self) -> StageInputs:
        """Return all that the stage's network follows from."""
        stage, data, settings = self.stage, self.data, self.stage.settings()
        task: dict[str, object] = {"decoder": data.judged_decoder} if data.judged_decoder else {}
        task |= {TASK_CODE: data.task_code} if data.task_code else {}
        if self.needs:
            settings["needs"] = self.needs.to_json()
        return StageInputs(
            stage=stage.name,
            version=stage.version,
            settings=settings,
            start=self.start.content if isinstance(self.start, StageResult) else self.start.key,
            teachers=self.teachers.content if self.teachers else "",
            samples={
                **{"fingerprint": data.fingerprint, "batch_size": data.batch_size, "augment": data.augment},
                **task,
            },
            seed=self.seed,
        )

    @property
    def key(self) -> str:
        return self.inputs.key

    def fill(self, folder: Path, workplace: Path) -> None:
        started, goes_on = time.monotonic(), workplace.exists()
        why = why_again(self.inputs, self.log.stage_inputs(self.stage_name))
        begins = "goes on" if goes_on else f"runs again: {why}" if why else "starts"
        logger.info(f"  {self.stage_name}: {begins}")
        result = WORK[self.stage.name].run(self._job(workplace))
        capture(result.network, result.spec).save(folder)
        write_json(folder / METRICS, result.metrics)
        # Of a stage that went on from a checkpoint only the last part was timed, so it has no time.
        seconds = {} if goes_on else {"seconds": round(time.monotonic() - started, 2)}
        self.log.write("stage", name=self.stage_name, key=self.key, inputs=self.inputs.to_json(), **seconds)

    def found(self, folder: Path) -> None:
        logger.info(f"  {self.stage_name}: done before ({folder.name})")

    def read(self, folder: Path) -> StageResult:
        return StageResult(self.stage_name, self.label, self.key, folder)

    def _job(self, workplace: Path) -> Job:
        network, spec = self._network()
        return Job(
            name=self.stage_name,
            network=network,
            spec=spec,
            stage=self.stage,
            data=self.data,
            seed=self.seed,
            teacher=self.teachers.network() if self.teachers else None,
            teacher_specs=self.teachers.specs if self.teachers else (),
            teacher_key=f"{self.teachers.content} {self.data.decoded_fingerprint}" if self.teachers else "",
            folder=workplace,
            log=self._write,
            needs=self.needs,
        )

    def _network(self) -> tuple[nn.Module, Spec]:
        if isinstance(self.start, Start):
            return self.start.network(), self.start.spec
        artifact = self.start.artifact
        return restore(artifact), artifact.spec

    def _write(self, epoch: Epoch) -> None:
        self.log.write("epoch", stage=self.stage_name, **epoch.to_json())
        if self.watch:
            self.watch(self.stage_name, epoch)
