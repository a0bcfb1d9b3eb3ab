"""The tasks that a recipe and a bundle may name."""

from edgekd.errors import RecipeError
from edgekd.registry import Registry
from edgekd.tasks.classification import Classification
from edgekd.tasks.detection import Detection
from edgekd.tasks.metric import Metric
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.task import Task

# What a recipe, a report or a bundle that names no task is for.
DEFAULT = "classification"
TASKS: Registry[type[Task]] = Registry("task", RecipeError)
TASKS["classification"] = Classification
TASKS["multilabel"] = Multilabel
TASKS["regression"] = Regression
TASKS["keypoints"] = Keypoints
TASKS["detection"] = Detection
TASKS["segmentation"] = Segmentation


def metrics_by_name() -> Registry[Metric]:
    """Return the metrics of all tasks; two tasks may share one."""
    metrics = Registry[Metric]("metric", RecipeError)
    metrics.update({metric.name: metric for task in TASKS.values() for metric in task.metrics})
    return metrics


def metric_named(name: str) -> Metric:
    """Return a metric of any task.

    Raises:
        RecipeError: no task has it.
    """
    return metrics_by_name().find(name)
