"""The stages of a recipe with their networks, before anything runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.artifact import Spec
from edgekd.chain import stages as _stages  # noqa: F401  (they register themselves)
from edgekd.chain.keys import network_key
from edgekd.data import DataSet
from edgekd.errors import RecipeError
from edgekd.models import build, count_macs, count_parameters, load_checkpoint
from edgekd.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """A network before its first stage."""

    model: str
    args: dict[str, Any]
    checkpoint: Path | None
    spec: Spec
    seed: int

    @property
    def key(self) -> str:
        return network_key(self.model, self.args, self.checkpoint)

    def network(self) -> nn.Module:
        torch.manual_seed(self.seed)
        network = build(self.model, self.spec.input_shape, self.spec.num_classes, **self.args)
        if self.checkpoint is not None:
            load_checkpoint(network, self.checkpoint)
        return network


@dataclass(frozen=True)
class Size:
    params: int
    macs: int


def start_of(section: Any, data: DataSet, seed: int) -> Start:
    """``section`` is the recipe's teacher or student."""
    spec = Spec(section.model, data.input_shape, len(data.classes), dict(section.args))
    return Start(section.model, dict(section.args), section.checkpoint, spec, seed)


def size_of(start: Start) -> Size:
    network = start.network()
    return Size(count_parameters(network), count_macs(network, start.spec.input_shape))


def must_shrink(recipe: Recipe, teacher: Size, student: Size) -> None:
    """Refuses a student with more parameters than its teacher: whatever follows, it is no compression."""
    assert recipe.student is not None
    if student.params > teacher.params:
        raise RecipeError(
            f"student {recipe.student.model} has {student.params:,} parameters, more than the "
            f"{teacher.params:,} of the teacher {recipe.teacher.model}: name a smaller student, or leave "
            "student out to compress the teacher's own network"
        )
