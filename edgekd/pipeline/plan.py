"""The stages of a recipe with their networks, before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.data import DataSet
from edgekd.errors import ModelError, RecipeError
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.models import code_of, count_macs, count_parameters, load_checkpoint
from edgekd.models.build import build
from edgekd.models.signature import find_signature
from edgekd.pipeline.network_check import check_network
from edgekd.recipe import Recipe
from edgekd.spec import Spec
from edgekd.stages.job import Trial
from edgekd.stages.network import build_spec
from edgekd.stages.work import WORK
from edgekd.tasks.signature import Signature
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Named
from edgekd.train.transfer import Transfer

# Goes up when the same checkpoint would give other weights.
CHECKPOINT_RULE = "averaged weights first"


@dataclass(frozen=True)
class Start:
    """A network before its first stage."""

    spec: Spec
    checkpoint: Path | None
    seed: int
    new_head: bool = False
    checkpoint_key: str | None = None

    @property
    def key(self) -> str:
        """Hash the builder with its arguments and the user's code, and what the checkpoint holds."""
        contents = [*self.spec.code, *([sha256_file(self.checkpoint)] if self.checkpoint else [])]
        choices = [
            *(["new head"] if self.new_head else []),
            *([CHECKPOINT_RULE] if self.checkpoint else []),
            *([self.checkpoint_key] if self.checkpoint_key else []),
        ]
        return sha256(canonical_json([self.spec.builder_name, self.spec.args, contents, *choices]))

    def network(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return build_spec(self.spec, self._load)

    def _load(self, network: nn.Module) -> None:
        if self.checkpoint is not None:
            load_checkpoint(network, self.checkpoint, self.new_head, self.checkpoint_key)


@dataclass(frozen=True)
class Size:
    params: int
    macs: int


def start_of(section: Any, data: DataSet, seed: int) -> Start:
    """Return the network that ``section`` names, one of the recipe's teachers or its student."""
    shape, classes, args = data.input_shape, len(data.classes), dict(section.args)
    found = None if shape else _signature(section, data)
    code = code_of(section.model, shape, classes, args, found)
    spec = Spec(section.model, shape, classes, args, code=code, signature=found)
    return Start(spec, section.checkpoint, seed, section.new_head, section.checkpoint_key)


def _signature(section: Any, data: DataSet) -> Signature:
    """What the network makes of several inputs, which it takes in the order in which the data have them."""
    example = data.example()
    network = build(section.model, (), len(data.classes), **section.args)
    found = find_signature(network, example, open=data.open)
    own, given = [each.name for each in found.inputs], list(example)
    if own != given:
        raise ModelError(
            f"{section.model} takes {', '.join(own)}, and the data give {', '.join(given)}: give the arrays in the "
            "order of forward's parameters"
        )
    return found


def starts_of_teachers(recipe: Recipe, data: DataSet) -> list[Start]:
    """Return all teachers, the first one first, each with its own seed so that equal sections differ in weights."""
    sections = (recipe.teacher, *recipe.teacher.others)
    return [start_of(each, data, (recipe.seed + number) % 2**32) for number, each in enumerate(sections)]


def size_of(start: Start, inputs: Named, task: Task, trained: bool = True) -> Size:
    """Build the network and run it on ``inputs``, so that what does not fit the data is found before any training."""
    network = start.network()
    check_network(network, start.spec, inputs, task, trained)
    return Size(count_parameters(network), count_macs(network, start.spec.inputs))


def must_compress(recipe: Recipe, teachers: Sequence[Start], start: Start, samples: int, task: Task) -> tuple[str, ...]:
    """Try what the stages need of the networks before hours of training lead up to them.

    Returns what its user should know of each stage, a line each.
    """
    student, taught = start.network().eval(), teachers[0].network().eval()
    for own, teacher in zip(teachers, (recipe.teacher, *recipe.teacher.others), strict=True):
        if teacher.train is not None:
            Transfer(own.network(), teacher.train)
    notes: list[str] = []
    for stage in recipe.stages:
        Transfer(student, stage)
        work = WORK[stage.name]
        trial = Trial(start.network, student, taught, start.spec.inputs, samples, task, work.needs(recipe))
        notes += [f"{stage.name:8} {note}" for note in work.check(stage, trial)]
    return tuple(notes)


def must_shrink(recipe: Recipe, teacher: Size, student: Size) -> None:
    """Refuse a student with more parameters than its teacher: whatever follows, it is no compression."""
    assert recipe.student is not None
    if student.params > teacher.params:
        raise RecipeError(
            f"student {recipe.student.model} has {student.params:,} parameters, more than the "
            f"{teacher.params:,} of the teacher {recipe.teacher.model}: name a smaller student, or leave "
            "student out to compress the teacher's own network"
        )
