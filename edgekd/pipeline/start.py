"""The networks of a recipe before their first stages."""

from dataclasses import dataclass

import torch
from torch import nn

from edgekd.data import DataSet
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.models.checkpoint import Checkpoint
from edgekd.recipe import FurtherTeacher, Recipe, Student
from edgekd.spec import Spec
from edgekd.stages.network import build_spec, spec_for

# Goes up when the same checkpoint would give other weights.
CHECKPOINT_RULE = "averaged weights first"


@dataclass(frozen=True)
class Start:
    """A network before its first stage."""

    spec: Spec
    checkpoint: Checkpoint | None
    seed: int

    @property
    def key(self) -> str:
        """Hash the builder with its arguments and the user's code, and what the checkpoint holds."""
        contents, choices = [*self.spec.code], []
        if self.checkpoint is not None:
            contents.append(sha256_file(self.checkpoint.path))
            choices += ["new head"] if self.checkpoint.new_head else []
            choices += [CHECKPOINT_RULE, *([self.checkpoint.key] if self.checkpoint.key else [])]
        return sha256(canonical_json([self.spec.builder_name, self.spec.args, contents, *choices]))

    def network(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return build_spec(self.spec, self.checkpoint)


@dataclass(frozen=True)
class Starts:
    """The networks that a recipe starts from: its teachers, the first one first, and its student if it has one."""

    teachers: tuple[Start, ...]
    student: Start | None

    @property
    def first(self) -> Start:
        """Return the network that the first stage starts from."""
        return self.student or self.teachers[0]


def starts_of(recipe: Recipe, data: DataSet) -> Starts:
    """Describe the networks of ``recipe``, each teacher with its own seed: equal sections differ in weights."""
    sections = (recipe.teacher, *recipe.teacher.others)
    teachers = [_start(each, data, (recipe.seed + number) % 2**32) for number, each in enumerate(sections)]
    return Starts(tuple(teachers), _start(recipe.student, data, recipe.seed) if recipe.student else None)


def _start(section: FurtherTeacher | Student, data: DataSet, seed: int) -> Start:
    spec = spec_for(section.model, section.args, data)
    found = section.checkpoint
    return Start(spec, Checkpoint(found, section.new_head, section.checkpoint_key) if found else None, seed)
