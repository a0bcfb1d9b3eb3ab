"""From a recipe file with open fields to its space, with every mistake in it found before anything is trained."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from edgekd.agent.power import sensor
from edgekd.bench.energy import total_rails
from edgekd.devices.probe import Probe
from edgekd.devices.registry import LOCAL
from edgekd.errors import MeasurementError, RecipeError
from edgekd.options import Target
from edgekd.pipeline.check import RecipeLookup
from edgekd.pipeline.resolve import with_targets
from edgekd.pipeline.target_plan import plan_targets
from edgekd.recipe.expected import kind_at
from edgekd.recipe.load import read_tree, recipe_of
from edgekd.recipe.mistakes import shown
from edgekd.recipe.open_fields import OpenChoice, OpenRange, OpenValues, filled, open_fields, open_places
from edgekd.recipe.overrides import spell_out_stages
from edgekd.recipe.schema import Recipe
from edgekd.recipe.tree import Loc, Tree, dotted, mistake
from edgekd.report.candidate_cost import ENERGY
from edgekd.search.default_space import TEACHER, NamedStudent, default_students, default_ways, named_students
from edgekd.search.space import ARM, CUTS, Arm, Dimension, Space, shortened, stage_at
from edgekd.stages import STAGES, Prune
from edgekd.stages.factorize.options import Factorize

MOST_MISTAKES, MOST_ARMS = 10, 200
STUDENT: Loc = ("student",)


def open_space(path: Path, overrides: Sequence[str] = (), *, apart: bool = True) -> Space:
    """Read the recipe at ``path``, changed by ``overrides`` as ``--set`` writes them, as the space of a search.

    A student or stages that it leaves out are those of :mod:`edgekd.search.default_space`. Each value of a choice and
    both ends of a range are validated.

    Args:
        apart: make each value of a choice that changes what a network costs a kind of student of its own, as a search
            needs it; in a grid it stays a value.

    Raises:
        RecipeError: with a line for each mistake; or nothing is open.
    """
    tree = read_tree(path, overrides)
    spell_out_stages(tree)
    open_fields(tree)
    variants = _with_own_names(list(islice(_variants(tree, apart), MOST_ARMS + 1)))
    if len(variants) > MOST_ARMS:
        raise RecipeError(f"{path}: the choices make more than {MOST_ARMS} kinds of students, the most that are tried")
    lines: dict[str, None] = {}
    # The targets are those of all. Layers that one network has, another may lack: its candidates show that.
    lookup = RecipeLookup(reach=True)
    further = lookup if _are_of_one_network(variants) else RecipeLookup(reach=False)
    first, *rest = variants
    arms = [_arm(first, lines, lookup, further), *(_arm(each, lines, further, further) for each in rest)]
    space = Space(path, tree.value, tuple(arms))
    if apart and not lines:
        lines |= dict.fromkeys([*_not_searched(space, tree), *_not_measured(space, tree, lookup)])
    if lines:
        more = len(lines) - MOST_MISTAKES
        last = [f"and {more} more mistakes"] if more > 0 else []
        raise RecipeError("\n".join([*lines][:MOST_MISTAKES] + last))
    if len(arms) == 1 and not arms[0].dimensions:
        way = (
            "open a field, e.g. prune: {macs: {search: [0.2, 0.9]}}, leave student or stages out"
            if apart
            else "give values, e.g. --grid prune.macs=0.3,0.5"
        )
        raise RecipeError(f"{path}: nothing is open, so there is nothing to find; {way}, or use 'edgekd run {path}'")
    return space


@dataclass(frozen=True)
class _Variant:
    """A recipe whose student and list of stages are fixed, apart from open fields in them."""

    name: str
    tree: Tree
    assumed: bool = False


def _variants(tree: Tree, apart: bool) -> Iterator[_Variant]:
    """Yield a variant for each student and each list of stages that ``tree`` stands for."""
    head = None if "student" in tree.value and "stages" in tree.value else _head(tree)
    for student, taken in _students(tree, head):
        if "stages" in tree.value:
            assumed = "student" not in tree.value
            for variant in _expanded(_Variant(student.name, taken, assumed), apart):
                # The family's members are tried by those stages alone that can begin with them.
                if not (assumed and student.is_random) or _starts_from_random_weights(variant.tree):
                    yield variant
            continue
        assert head is not None
        for way in default_ways(head, student):
            name = f"{student.name} {way.name}".rstrip()
            yield from _expanded(_Variant(name, _having(taken, ("stages",), way.stages), True), apart)


def _with_own_names(variants: Sequence[_Variant]) -> list[_Variant]:
    """Number variants of one name: a value may be written as another's place in its choice."""
    names = [variant.name for variant in variants]
    alike = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [
        replace(each, name=f"{each.name} ({number})") if number > 1 else each
        for each, number in zip(variants, alike, strict=True)
    ]


def _head(tree: Tree) -> Recipe:
    """Validate what defaults depend on: all but student and stages."""
    alone = _having(tree, ("stages",), ["distill"])
    alone.value.pop("student", None)
    return recipe_of(alone)


def _students(tree: Tree, head: Recipe | None) -> Iterator[tuple[NamedStudent, Tree]]:
    if "student" not in tree.value:
        assert head is not None
        for student in default_students(head):
            yield student, tree if student.section is None else _having(tree, STUDENT, student.section)
        return
    choice = open_fields(tree).get(STUDENT)
    if not isinstance(choice, OpenChoice):
        section = tree.value["student"] if isinstance(tree.value["student"], dict) else None
        model = section and section.get("model")
        yield NamedStudent(model if isinstance(model, str) else "student", section), tree
        return
    labelled = list(zip(choice.labels, choice.values, strict=True))
    students = named_students([_section(tree, label, value) for label, value in labelled])
    for label, found in zip(choice.labels, students, strict=True):
        student = replace(found, name=label) if isinstance(label, str) else found
        taken = filled(tree, STUDENT, student.section, label)
        if student.section is None:
            del taken.value["student"]
        else:
            taken.origins.setdefault((*STUDENT, "model"), taken.origin(STUDENT))
        yield student, taken


def _section(tree: Tree, label: str | int, value: Any) -> dict[str, Any] | None:
    """Return the section of a student in a choice: a network's name stands for it, and ``teacher`` for its own."""
    if value == TEACHER:
        return None
    if isinstance(value, str):
        return {"model": value}
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        loc = (*STUDENT, "choice", label)
        raise mistake(tree.origin(loc), loc, f"expected a network's name, or a section with model, got {shown(value)}")
    return value


def _starts_from_random_weights(tree: Tree) -> bool:
    stages = tree.value["stages"]
    first = stages[0] if isinstance(stages, list) and stages else None
    name = next(iter(first), None) if isinstance(first, dict) else first
    return name in STAGES and STAGES[name].starts_from_random_weights


def _expanded(variant: _Variant, apart: bool) -> Iterator[_Variant]:
    """Yield a variant for each value of each choice among stages, or among values that are open themselves.

    Also of each choice that changes what a network costs, if these are kept ``apart``.
    """
    tree = variant.tree
    spell_out_stages(tree)
    for loc, values in open_fields(tree).items():
        if isinstance(values, OpenChoice) and (_is_structure(loc, values) or (apart and _changes_costs(loc))):
            for label, value in zip(values.labels, values.values, strict=True):
                name = f"{variant.name}: {_words(loc, label, value)}"
                yield from _expanded(replace(variant, name=name, tree=filled(tree, loc, value, label)), apart)
            return
    yield variant


def _words(loc: Loc, label: str | int, value: object) -> str:
    if isinstance(label, str):
        return label
    last = next(part for part in reversed(loc) if isinstance(part, str))
    name = f"stage {loc[-1]}" if last == "stages" else last
    return f"{name} {value if isinstance(value, str | int | float) else label + 1}"


def _changes_costs(loc: Loc) -> bool:
    """Tell whether another value there gives a network of another cost: it is asked for once for a kind of student."""
    name = stage_at(loc) or ""
    stage = STAGES.get(name)
    if stage is None:
        return loc[0] == "student"
    # An item of an option's list is of that option.
    option = loc[loc.index(name) + 1 :][:1]
    return stage.gives != "float" or any(own in CUTS or own in stage.reshapes for own in option)


def _not_searched(space: Space, tree: Tree) -> Iterator[str]:
    """Yield a line for each thing that a recipe asks for and no search does."""
    base = space.base
    loc: Loc
    metric, *others = (each.name for each in base.kind.metrics)
    for name in others:
        if space.objective == name:
            place = tree.origin(("objective",)).place
            yield f"{place}: objective: a search makes latency, size, energy or {metric} best, not {name}"
    if base.budget.energy_mj is not None:
        place = tree.origin(("budget", "energy_mj")).place
        yield (
            f"{place}: budget.energy_mj: no search predicts energy; leave it out here, and bound it in the winner's "
            "recipe"
        )
    for arm in space.arms:
        cuts = [each for each in arm.dimensions if each.is_cut]
        idle = [each for each in arm.dimensions if not (each.is_cut or each.is_training) and _changes_costs(each.path)]
        for each in (*cuts[1:], *idle):
            why = f"a search varies one cut, {cuts[0].name}" if each.is_cut else "no search varies it"
            yield f"{each.place}: {each.name}: {why}; write one value, or a choice"
        recipe = space.recipe({ARM: arm.name})
        for index, stage in enumerate(recipe.stages):
            if isinstance(stage, Factorize) and stage.energy is not None and recipe.student_is_random:
                loc = ("stages", index, stage.name, "energy")
                yield (
                    f"{tree.origin(loc).place}: {dotted(loc)}: a search knows what a cut costs before any training, "
                    "and random weights, from which this student learns, have other ranks than trained ones; give a "
                    "share, e.g. macs: {search: [0.2, 0.9]}"
                )
            if isinstance(stage, Prune) and stage.largest_drop is not None:
                loc = ("stages", index, stage.name, str(stage.goal))
                yield (
                    f"{tree.origin(loc).place}: {dotted(loc)}: a search knows what a cut costs before any training, "
                    "and how far this one goes is found by training; open a share, e.g. macs: {search: [0.2, 0.9]}"
                )


def _not_measured(space: Space, tree: Tree, lookup: RecipeLookup) -> Iterator[str]:
    """Yield a line where no target is measured, or not in what is made best: a search promises what was measured."""
    base = with_targets(space.base, [lookup.resolved.get(target, target) for target in space.base.targets])
    plans = plan_targets(base, lookup.probed)
    judged = next((plan.target for plan in plans if plan.judged), None)
    if judged is None:
        why = plans[0].unserved or plans[0].unmeasured
        yield (
            f"{tree.origin(('targets',)).place}: targets: a search promises what was measured, and nothing is on "
            f"{plans[0].target.device}: {why}; or add {{device: cpu}}, on which the budget is judged then"
        )
    elif space.objective == ENERGY and (why := _why_no_energy(judged, lookup.probed)):
        yield f"{tree.origin(('objective',)).place}: objective: {why}; make latency or size best"


def _why_no_energy(judged: Target, probed: Mapping[str, Probe]) -> str | None:
    """Return why no energy is measured on the target that the budget is judged on, or None where it is."""
    device = judged.device
    if device in LOCAL and sensor():
        return None
    if device not in probed:
        return f"energy is measured on a Jetson, or where a processor's counters can be read, and not on {device}"
    try:
        total_rails(probed[device].rails)
    except MeasurementError:
        return f"no sensor of {device} has the power of the whole module (its rails: {_named(probed[device].rails)})"
    return None


def _named(rails: Sequence[str]) -> str:
    return ", ".join(rails) or "none"


def _is_structure(loc: Loc, choice: OpenChoice) -> bool:
    return (loc[0] == "stages" and len(loc) <= 3) or any(True for _ in open_places(list(choice.values)))


def _having(tree: Tree, loc: Loc, value: Any) -> Tree:
    copy = Tree(deepcopy(tree.value), dict(tree.origins))
    copy.put(loc, deepcopy(value), {loc: tree.origin(())})
    return copy


def _are_of_one_network(variants: Sequence[_Variant]) -> bool:
    names = [variant.tree.at(("student", "model")) for variant in variants]
    return all(name == names[0] and not isinstance(name, dict) for name in names)


def _arm(variant: _Variant, mistakes: dict[str, None], lookup: RecipeLookup, of_values: RecipeLookup) -> Arm:
    """Validate ``variant`` at each value of each open field; add a line to ``mistakes`` for each one.

    Args:
        of_values: looks up what values other than the usual ones name.
    """
    tree = variant.tree
    fields = open_fields(tree)
    base = tree
    for loc, values in fields.items():
        base = _taking(base, loc, values, 0)
    found = _validated(base, mistakes, lookup)
    for loc, values in fields.items():
        for index in range(1, len(values.examples)):
            _validated(_taking(base, loc, values, index, tree), mistakes, of_values)
    if found is None:
        return Arm(variant.name, base.value)
    spell_out_stages(base)
    base.value.pop("objective", None)
    dimensions = [
        Dimension(shortened(loc, base.value["stages"]), _with_kind(loc, values), tree.origin(loc).place)
        for loc, values in fields.items()
    ]
    return Arm(variant.name, base.value, tuple(dimensions), found.written, variant.assumed)


def _taking(base: Tree, loc: Loc, values: OpenValues, index: int, written: Tree | None = None) -> Tree:
    """Return ``base`` with the value ``index`` of ``values`` at ``loc``, located where ``written`` has it."""
    source = Tree(base.value, {**base.origins, **(written.below(loc) if written else {})})
    return filled(source, loc, values.examples[index], values.labels[index] if isinstance(values, OpenChoice) else None)


def _validated(tree: Tree, mistakes: dict[str, None], lookup: RecipeLookup) -> Recipe | None:
    try:
        return recipe_of(tree, lookup)
    except RecipeError as error:
        mistakes |= dict.fromkeys(str(error).splitlines())
        return None


def _with_kind(loc: Loc, values: OpenValues) -> OpenValues:
    """Return a range over whole numbers as such: the recipe's type decides, or the ends where it is the user's own."""
    if not isinstance(values, OpenRange):
        return values
    try:
        kind = kind_at(loc)[0]
    except (KeyError, IndexError, AttributeError, TypeError):
        return values
    return replace(values, whole=kind is int or (values.whole and kind is not float))
