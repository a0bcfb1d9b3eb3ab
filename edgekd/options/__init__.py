"""Options of data, training, targets and budgets: typed, frozen, checked as they are made."""

from edgekd.options.budget import Budget
from edgekd.options.data import SOURCES, Data
from edgekd.options.section import Mistake, Section
from edgekd.options.target import Target
from edgekd.options.train import Train

__all__ = ["SOURCES", "Budget", "Data", "Mistake", "Section", "Target", "Train"]
