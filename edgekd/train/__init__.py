"""The training loop and the evaluation that every stage shares."""

from edgekd.train.evaluate import accuracy_of, logits_of, predictions_of
from edgekd.train.loop import FitOptions, fit
from edgekd.train.objective import Batch, CrossEntropy, Objective

__all__ = ["Batch", "CrossEntropy", "FitOptions", "Objective", "accuracy_of", "fit", "logits_of", "predictions_of"]
