"""The teacher: its checkpoint, trained further where the recipe says so."""

from typing import ClassVar

from edgekd.stages.stage import Stage
from edgekd.strict_json import JsonObject
from edgekd.train.options import Train


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
