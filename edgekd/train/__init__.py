"""The training loop and the evaluation that every stage shares."""

from edgekd.train.evaluate import accuracy_of, logits_of
from edgekd.train.loop import fit
from edgekd.train.objective import CrossEntropy, Objective

__all__ = ["CrossEntropy", "Objective", "accuracy_of", "fit", "logits_of"]
