"""Options: typed, frozen, checked as they are made. Those of targets and budgets; rooms have their own."""

from edgekd.options.budget import Budget
from edgekd.options.section import Mistake, Registered, Section
from edgekd.options.target import Target

__all__ = ["Budget", "Mistake", "Registered", "Section", "Target"]
