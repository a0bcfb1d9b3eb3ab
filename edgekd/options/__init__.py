"""Options of data and of training: typed, frozen, checked as they are made. A recipe has them as sections."""

from edgekd.options.data import SOURCES, Data
from edgekd.options.section import Mistake, Section
from edgekd.options.train import Train

__all__ = ["SOURCES", "Data", "Mistake", "Section", "Train"]
