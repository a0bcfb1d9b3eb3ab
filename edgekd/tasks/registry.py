"""The tasks that a recipe and a bundle may name."""

from edgekd.errors import RecipeError
from edgekd.registry import Registry
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.task import Task

TASKS: Registry[type[Task]] = Registry("task", RecipeError)
TASKS["classification"] = Classification
TASKS["multilabel"] = Multilabel
