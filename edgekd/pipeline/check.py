"""Checks of a recipe file that nothing is trained for: all mistakes at once, each with its line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.devices.probe import Probe
from edgekd.devices.registry import devices
from edgekd.errors import DeviceError, EdgekdError
from edgekd.options import Mistake
from edgekd.pipeline.recipe_names import WITHOUT_TORCH, Networks, has_torch, unknown_layers, unknown_names
from edgekd.pipeline.resolve import is_registered, must_be_known, probe_device, with_architecture, with_targets
from edgekd.pipeline.target_plan import TargetPlan, plan_targets
from edgekd.recipe import Recipe, Target
from edgekd.recipe.load import load_checked
from edgekd.recipe.lookup import missing_files
from edgekd.recipe.tree import Tree


@dataclass(frozen=True)
class CheckedRecipe:
    """A recipe in which no mistake was found, with its targets' architectures, and the plan of each target.

    ``notes`` say what was not looked up.
    """

    recipe: Recipe
    targets: tuple[TargetPlan, ...]
    notes: tuple[str, ...] = ()


def check_recipe(path: Path, overrides: Sequence[str] = (), reach: bool = True) -> CheckedRecipe:
    """Load a recipe and look up what it names: files, functions, networks, losses, importances, layers and devices.

    Args:
        reach: probe the registered devices of its targets, and build its networks to look layers up in them. A run
            does both itself.

    Raises:
        RecipeError: with a line for each mistake.
    """
    looked_up = RecipeLookup(reach)
    recipe = load_checked(path, overrides, looked_up)
    recipe = with_targets(recipe, [looked_up.resolved.get(target, target) for target in recipe.targets])
    return CheckedRecipe(recipe, plan_targets(recipe, looked_up.probed), tuple(looked_up.notes))


class RecipeLookup:
    """Looks up what recipes name, and keeps what it learns: each device is asked once, and each network built once."""

    def __init__(self, reach: bool) -> None:
        self.reach = reach
        self.notes: list[str] = []
        self._failed: set[str] = set()
        self._networks = Networks()
        self.probed: dict[str, Probe] = {}
        self.resolved: dict[Target, Target] = {}

    def __call__(self, tree: Tree, recipe: Recipe | None) -> list[Mistake]:
        found = [*missing_files(tree), *self._targets(tree)]
        if not has_torch():
            self._note(WITHOUT_TORCH)
            return found
        found += unknown_names(tree)
        if self.reach and recipe is not None and not found:
            found += unknown_layers(recipe, self._networks, self._note)
        return found

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _targets(self, tree: Tree) -> Iterator[Mistake]:
        registry = devices()
        for at, target in _targets_in(tree):
            try:
                must_be_known(target, registry)
                if not (self.reach and is_registered(target, registry)) or target.device in self._failed:
                    continue
                if target.device not in self.probed:
                    self.probed[target.device] = probe_device(registry[target.device])
                self.resolved[target] = with_architecture(target, self.probed[target.device])
            except DeviceError as error:
                self._failed.add(target.device)
                yield Mistake(str(error), "targets", at)


def _targets_in(tree: Tree) -> Iterator[tuple[int, Target]]:
    """The targets that are written as targets are; the mistakes of others are known."""
    written = tree.at(("targets",))
    for at, each in enumerate(written if isinstance(written, list) else []):
        try:
            yield at, Target.model_validate(each)
        except (ValueError, EdgekdError):
            continue
