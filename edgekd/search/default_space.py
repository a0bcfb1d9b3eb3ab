"""The space that is searched where a recipe leaves student or stages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.data.sources import SOURCES
from edgekd.models.families import is_smallest, smaller
from edgekd.recipe.open_fields import CHOICE, LOG, SEARCH
from edgekd.recipe.schema import Recipe

# The widest range of a cut; what a network cannot reach is left out of it later.
CUT = (0.05, 0.95)
# In an arm that drops blocks too: the share that they leave.
DEPTH = 0.7
# Cuts of single groups whose effect is measured: on a tenth of the samples each, that is the work of about an epoch.
SENSITIVITY = 30
# Epochs of a distillation from random weights, for each of the teacher's own, and the least of them.
LONGER, LEAST = 1.5, 8
RECOVERY = 8
# The teacher runs in each step of each trial.
FUSED = {"fuse_teacher": True}
# Kinds of outputs that are a few numbers for each sample; those of points may be heat maps.
OF_FEW_VALUES = ("classes", "labels", "values")
# The share of the teacher's learning rate at which what is left of its weights recovers from a cut.
GENTLER = 0.4


@dataclass(frozen=True)
class NamedStudent:
    """A student's section in a recipe, which may have open fields; None for the teacher's own network."""

    name: str
    section: dict[str, Any] | None

    @property
    def is_random(self) -> bool:
        return self.section is not None and (not self.section.get("checkpoint") or bool(self.section.get("new_head")))

    @property
    def has_shallower(self) -> bool:
        """Tell whether it starts from random weights, as a shallower network of its family could in its place."""
        return self.is_random and self.section is not None and not is_smallest(self.section.get("model"))


@dataclass(frozen=True)
class Way:
    """Stages in the form of the recipe's YAML, and the words for them in an arm's name."""

    name: str
    stages: list[dict[str, Any] | str]


TEACHER = "teacher"


def default_students(recipe: Recipe) -> list[NamedStudent]:
    """Return the teacher itself, then the smaller members of its family."""
    own = recipe.teacher
    members = smaller(own.model, own.args)
    sections = [{"model": each.model, **({"args": dict(each.args)} if each.args else {})} for each in members]
    return [NamedStudent(TEACHER, None), *named_students(sections)]


def named_students(sections: Sequence[dict[str, Any] | None]) -> list[NamedStudent]:
    """Name students by their networks, those of one network by their arguments too, and number what is left alike."""
    models = [section["model"] for section in sections if section]
    names = [TEACHER if section is None else _name(section, models) for section in sections]
    alike = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [
        NamedStudent(name if number == 1 else f"{name} ({number})", section)
        for name, number, section in zip(names, alike, sections, strict=True)
    ]


def default_ways(recipe: Recipe, student: NamedStudent) -> list[Way]:
    """Return the ways from ``student`` to a network in 8 bits: uncut, then by widths, blocks or both."""
    learn = [_distillation(recipe)] if student.is_random else []
    goal, end = cut_goal(recipe), "quantize"
    cut = {goal: {SEARCH: list(CUT)}, "sensitivity": {CHOICE: [None, SENSITIVITY]}, **_recovery(recipe)}
    ways = [Way("", [*learn, end]), Way("by widths", [*learn, {"prune": cut}, end])]
    blocks = {"depth": {SEARCH: list(CUT)}, **_recovery(recipe)}
    both = {goal: {SEARCH: [CUT[0], DEPTH]}, "depth": DEPTH, **_recovery(recipe)}
    if not student.is_random:
        ways.append(Way("by blocks", [*learn, {"prune": blocks}, end]))
    if not student.has_shallower:
        ways.append(Way("by blocks and widths", [*learn, {"prune": both}, end]))
    return ways


def cut_goal(recipe: Recipe) -> str:
    """Return the option of prune that says how far widths are cut: size where size is made best, else MACs.

    A cut to a share of the latency is timed while it is made, which takes longer than a short training, and another
    time may cut elsewhere: the winner's recipe would not give the winner. A search predicts each cut's time instead.
    """
    return "size" if recipe.objective == "size" else "macs"


def _distillation(recipe: Recipe) -> dict[str, Any]:
    own = recipe.teacher.train
    most = max(LEAST, round(LONGER * own.epochs)) if own is not None else 20
    views = {"views": 1} if _has_one_view(recipe) else {}
    epochs = {SEARCH: [max(1, most // 4), most], LOG: True}
    return {"distill": {"epochs": epochs, **views, **FUSED, **_as_taught(recipe)}}


def _has_one_view(recipe: Recipe) -> bool:
    """Tell whether each sample is always seen alike, so that the teacher's outputs on it are computed once for all.

    Those of masks, boxes and heat maps would fill a disk.
    """
    data, kind = recipe.data, recipe.kind
    few = kind.outputs in OF_FEW_VALUES and kind.kind_of_names != "points"
    return few and not data.augment and data.source in SOURCES


def _recovery(recipe: Recipe) -> dict[str, Any]:
    # Timing within a stage would wait for all other training; the deployed file is timed later.
    epochs = {SEARCH: [1, RECOVERY], LOG: True}
    return {"epochs": epochs, "check_latency": False, **FUSED, **_as_taught(recipe, GENTLER)}


def _as_taught(recipe: Recipe, share: float = 1.0) -> dict[str, Any]:
    """Return how the teacher was trained, at a share of its rate; nothing where it began from a checkpoint."""
    own = recipe.teacher.train
    if own is None or recipe.teacher.checkpoint is not None:
        return {}
    rate = float(f"{share * own.lr:.6g}")
    return {"lr": rate, "optimizer": own.optimizer, "weight_decay": own.weight_decay}


def _name(section: dict[str, Any], models: Sequence[str]) -> str:
    model, args = section["model"], section.get("args") or {}
    if models.count(model) == 1:
        return str(model)
    settings = [f"{key} {value}" for key, value in args.items()]
    return " ".join([model, *settings, *(["from its checkpoint"] if section.get("checkpoint") else [])])
