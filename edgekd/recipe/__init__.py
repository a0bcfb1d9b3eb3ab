"""Recipes: their format, and their mistakes by line."""

from edgekd.data.options import Data
from edgekd.data.sources import SOURCES
from edgekd.options import Budget, Target
from edgekd.recipe.load import load_recipe
from edgekd.recipe.schema import Recipe, json_schema
from edgekd.recipe.sections import FurtherTeacher, Student, Teacher
from edgekd.stages import STAGES, Distill, Prune, Quantize, Stage
from edgekd.train.options import Train

__all__ = [
    "SOURCES",
    "STAGES",
    "Budget",
    "Data",
    "Distill",
    "FurtherTeacher",
    "Prune",
    "Quantize",
    "Recipe",
    "Stage",
    "Student",
    "Target",
    "Teacher",
    "Train",
    "json_schema",
    "load_recipe",
]
