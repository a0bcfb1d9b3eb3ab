"""The stages of a recipe with their networks, before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.artifact import Spec
from edgekd.chain import stages as _stages  # noqa: F401  (they register themselves)
from edgekd.chain.deployed import deployment
from edgekd.chain.keys import network_key
from edgekd.chain.network import build_spec
from edgekd.chain.objective import between_generations, terms_of
from edgekd.data import DataSet
from edgekd.errors import ModelError, RecipeError, first_line
from edgekd.files import sha256_file
from edgekd.models import count_macs, count_parameters, load_checkpoint, source_files
from edgekd.prune import IMPORTANCES
from edgekd.prune.budget import must_reach
from edgekd.prune.counts import COUNTS
from edgekd.prune.depth import must_shorten
from edgekd.prune.importance import build_importance
from edgekd.prune.prunable import Prunable
from edgekd.prune.trial import LeftWhole
from edgekd.quantize import prepare
from edgekd.recipe import Distill, Prune, Quantize, Recipe
from edgekd.train.transfer import Transfer


@dataclass(frozen=True)
class Start:
    """A network before its first stage."""

    spec: Spec
    checkpoint: Path | None
    seed: int
    new_head: bool = False

    @property
    def key(self) -> str:
        return network_key(self.spec.builder, self.spec.args, self.checkpoint, self.new_head)

    def network(self) -> nn.Module:
        torch.manual_seed(self.seed)
        path = self.checkpoint
        load = None if path is None else partial(load_checkpoint, path=path, new_head=self.new_head)
        return build_spec(self.spec, load)


@dataclass(frozen=True)
class Size:
    params: int
    macs: int


def start_of(section: Any, data: DataSet, seed: int) -> Start:
    """``section`` is one of the recipe's teachers, or its student."""
    code = tuple(sha256_file(path) for path in source_files(section.model) if path.is_file())
    spec = Spec(section.model, data.input_shape, len(data.classes), dict(section.args), code=code)
    return Start(spec, section.checkpoint, seed, section.new_head)


def starts_of_teachers(recipe: Recipe, data: DataSet) -> list[Start]:
    """The first teacher's, then the others', each with a seed of its own: teachers that are alike must not be one."""
    sections = (recipe.teacher, *recipe.teacher.others)
    return [start_of(each, data, (recipe.seed + number) % 2**32) for number, each in enumerate(sections)]


def size_of(start: Start) -> Size:
    """Builds the network and runs it once, so that what does not fit the data is found before any training."""
    network = start.network()
    must_fit(network, start.spec)
    return Size(count_parameters(network), count_macs(network, start.spec.input_shape))


def must_fit(network: nn.Module, spec: Spec) -> None:
    """Refuses a network that cannot take the data's input, give one logit per class, or learn."""
    expected = f"expected logits of shape (2, {spec.num_classes}) for input of shape (2, {str(spec.input_shape)[1:-1]})"
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"{spec.builder} has no parameter that can be trained")
    try:
        with torch.no_grad():
            output = network.eval()(torch.zeros(2, *spec.input_shape))
    except Exception as error:  # the forward pass is the user's code
        raise ModelError(
            f"{spec.builder} does not take this data: {expected}; it fails: {first_line(error)}"
        ) from error
    if not isinstance(output, Tensor):
        raise ModelError(f"{spec.builder} gives a {type(output).__name__}; {expected}")
    if tuple(output.shape) != (2, spec.num_classes):
        raise ModelError(f"{spec.builder} gives shape {tuple(output.shape)}; {expected}")


def must_compress(recipe: Recipe, teachers: Sequence[Start], start: Start, samples: int) -> tuple[LeftWhole, ...]:
    """Tries what the stages need of the networks before hours of training lead up to them.

    Returns the layers that pruning would leave whole, for another reason than the recipe's.
    """
    left: tuple[LeftWhole, ...] = ()
    student, taught = start.network().eval(), teachers[0].network().eval()
    for own, teacher in zip(teachers, (recipe.teacher, *recipe.teacher.others), strict=True):
        if teacher.train is not None:
            Transfer(own.network(), teacher.train)
    for section in recipe.stages:
        Transfer(student, section)
        if isinstance(section, Distill):
            terms_of(section, student, taught, start.spec.input_shape, samples)
            if section.generations > 1:
                terms_of(between_generations(section), student, student, start.spec.input_shape, samples)
        if isinstance(section, Prune):
            left = _must_prune(recipe, section, start)
        if isinstance(section, Quantize):
            prepare(start.network(), start.spec.input_shape)
    return left


def _must_prune(recipe: Recipe, section: Prune, start: Start) -> tuple[LeftWhole, ...]:
    deployed, network, shape = deployment(recipe), start.network(), start.spec.input_shape
    if section.latency is not None and not deployed["timed"]:
        raise RecipeError(
            f"prune.latency is measured on the first target, and {deployed['device']} with {deployed['runtime']} "
            "cannot be timed: put cpu or a device of the book with onnxruntime first ('edgekd devices list'), or prune "
            "to a share of the MACs"
        )
    build_importance(section.importance, section.reduction)
    ranking: dict[str, Any] = {
        "scope": section.scope,
        "round_to": section.round_to or deployed["channels"],
        "max_ratio": section.max_ratio,
        "ignore": section.ignore,
    }
    if IMPORTANCES.find(section.importance).gradients == "none":
        ranking["importance"] = section.importance
    if section.depth is not None:
        must_shorten(network, shape, cost=lambda each: count_macs(each, shape), target=section.depth)
    goal = section.goal
    if goal is None:
        return ()
    prunable = Prunable(network, shape, **ranking)
    if goal in COUNTS and section.depth is None and (section.steps or 1) == 1:
        must_reach(goal, getattr(section, goal), prunable)
    return prunable.left


def must_shrink(recipe: Recipe, teacher: Size, student: Size) -> None:
    """Refuses a student with more parameters than its teacher: whatever follows, it is no compression."""
    assert recipe.student is not None
    if student.params > teacher.params:
        raise RecipeError(
            f"student {recipe.student.model} has {student.params:,} parameters, more than the "
            f"{teacher.params:,} of the teacher {recipe.teacher.model}: name a smaller student, or leave "
            "student out to compress the teacher's own network"
        )
