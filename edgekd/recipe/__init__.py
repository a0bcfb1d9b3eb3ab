"""Recipes: what to compress, with which data, by which stages, for which devices, within which budget."""

from edgekd.options import SOURCES, Budget, Data, Target, Train
from edgekd.recipe.load import load_recipe
from edgekd.recipe.schema import Recipe, json_schema
from edgekd.recipe.sections import FurtherTeacher, Student, Teacher
from edgekd.stages import STAGES, Distill, Prune, Quantize, Stage

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
