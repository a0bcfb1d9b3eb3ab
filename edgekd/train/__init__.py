"""The training loop and the evaluation that every stage shares."""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.train.evaluate import logits_of as logits_of
    from edgekd.train.evaluate import metric_of as metric_of
    from edgekd.train.evaluate import outputs_of as outputs_of
    from edgekd.train.evaluate import predictions_of as predictions_of
    from edgekd.train.history import Epoch as Epoch
    from edgekd.train.loop import FitOptions as FitOptions
    from edgekd.train.loop import fit as fit
    from edgekd.train.objective import Batch as Batch
    from edgekd.train.objective import CrossEntropy as CrossEntropy
    from edgekd.train.objective import Objective as Objective
    from edgekd.train.options import Train as Train
    from edgekd.train.processors import take_fitting_threads as take_fitting_threads

# Recipes import the options of this room, and no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "evaluate": ("metric_of", "logits_of", "outputs_of", "predictions_of"),
        "history": ("Epoch",),
        "loop": ("FitOptions", "fit"),
        "objective": ("Batch", "CrossEntropy", "Objective"),
        "options": ("Train",),
        "processors": ("take_fitting_threads",),
    },
)
