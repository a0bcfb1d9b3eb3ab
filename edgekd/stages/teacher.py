"""The teacher: its checkpoint, trained further where the recipe says so."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from edgekd.stages.stage import Stage
from edgekd.strict_json import JsonObject
from edgekd.train.history import history_to_json
from edgekd.train.options import Train

if TYPE_CHECKING:
    from edgekd.stages.job import Job, Result


class Pretraining(Stage):
    """Train the teacher, where there are options for it. A recipe has them in its section ``teacher``."""

    name: ClassVar[str] = "teacher"
    product: ClassVar[str] = "teacher"
    starts_from_random_weights: ClassVar[bool] = True

    train: Train | None = None

    @property
    def learns_from_teacher(self) -> bool:
        """Return False: there is none yet."""
        return False

    @property
    def train_options(self) -> Train | None:
        """Return how the teacher is trained, or None where its checkpoint is taken as it is."""
        return self.train

    def settings(self) -> JsonObject:
        """Return the options of the training alone, as JSON."""
        return self.train.model_dump(mode="json") if self.train else {}

    def run(self, job: "Job") -> "Result":
        """Train the teacher on the labels."""
        from edgekd.stages.job import Result
        from edgekd.train.objective import TaskLoss

        if self.train is None:
            return Result(job.network.eval(), job.spec, {"history": []})
        training = replace(job.training, objective=TaskLoss(job.data.task, self.train.label_smoothing))
        return Result(job.network, job.spec, {"history": history_to_json(job.fit(job.network, training=training))})
