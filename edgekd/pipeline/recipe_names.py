"""Names of networks, losses, importances and layers that a recipe names: their registries need PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgekd.errors import EdgekdError, first_line
from edgekd.files import canonical_json
from edgekd.nearest import among, nearest
from edgekd.options import Mistake
from edgekd.recipe import SOURCES, Distill, Prune, Recipe
from edgekd.recipe.tree import Loc, Tree
from edgekd.stages.factorize.options import Factorize
from edgekd.userfile import is_reference

if TYPE_CHECKING:
    from torch import nn

    from edgekd.registry import Registry

WITHOUT_TORCH = "networks, losses, importances and layers were not looked up: PyTorch is not installed here"
# Names of layers depend on neither; a builder must have some.
SIDE, CLASSES = 64, 10
CHANNELS = {"digits": 1, "mnist": 1, "fashion_mnist": 1}


def has_torch() -> bool:
    """Return whether names can be looked up in registries of PyTorch's."""
    return find_spec("torch") is not None


def unknown_names(tree: Tree) -> Iterator[Mistake]:
    """Yield a mistake for each network, loss and importance of a recipe that is in no registry."""
    for loc in _networks(tree):
        name = tree.at(loc)
        if isinstance(name, str) and not is_reference(name):
            from edgekd.models.build import must_be_known

            try:
                must_be_known(name)
            except EdgekdError as error:
                yield Mistake(str(error), *loc)
    for loc, registry in _registered(tree):
        name = tree.at(loc)
        if isinstance(name, str) and name not in registry:
            known = among(name, sorted(registry), "docs/recipes.md has all")
            yield Mistake(f"unknown {registry.kind} {name!r}{known}", *loc)


class Networks:
    """The networks of recipes, each built once, for images of a size that is not the data's."""

    def __init__(self) -> None:
        self._built: dict[bytes, nn.Module] = {}

    def of(self, recipe: Recipe, name: str, args: dict[str, object]) -> nn.Module:
        """Return the network ``name`` for samples as those of ``recipe``.

        Raises:
            EdgekdError: it cannot be built, or what its samples are is not known without the data.
        """
        data = recipe.data
        key = canonical_json([name, args, data.source, data.grayscale, data.image_size])
        if key not in self._built:
            self._built[key] = _built(recipe, name, args)
        return self._built[key]


def unknown_layers(recipe: Recipe, networks: Networks, note: Callable[[str], object]) -> Iterator[Mistake]:
    """Yield a mistake for each layer that a stage names and the networks lack.

    Args:
        note: called with the reason where they cannot be built.
    """
    named = [(loc, layer, of_teacher) for loc, layer, of_teacher in _layers(recipe)]
    if not named:
        return
    try:
        teacher = networks.of(recipe, recipe.teacher.model, recipe.teacher.args)
        student = networks.of(recipe, recipe.student.model, recipe.student.args) if recipe.student else teacher
    except EdgekdError as error:
        note(
            "layers were not looked up, because the networks are not built without the data "
            f"({first_line(error)}); 'edgekd run --dry-run' looks them up"
        )
        return
    for loc, layer, of_teacher in named:
        if why := _why_no_layer(teacher if of_teacher else student, layer, pattern=loc[-2] == "ignore"):
            yield Mistake(why, *loc)


def _networks(tree: Tree) -> list[Loc]:
    others = tree.at(("teacher", "others"))
    count = len(others) if isinstance(others, list) else 0
    further: list[Loc] = [("teacher", "others", number, "model") for number in range(count)]
    return [("teacher", "model"), ("student", "model"), *further]


def _registered(tree: Tree) -> Iterator[tuple[Loc, Registry[Any]]]:
    stages = tree.at(("stages",))
    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        section: Loc = ("stages", number)
        if not isinstance(stage, dict):
            continue
        distill, prune = stage.get(Distill.name), stage.get(Prune.name)
        if isinstance(distill, dict) and ("method" in distill or "also" in distill):
            from edgekd.distill import LOSSES

            yield (*section, Distill.name, "method"), LOSSES
            also = distill.get("also")
            for index in range(len(also) if isinstance(also, list) else 0):
                yield (*section, Distill.name, "also", index, "method"), LOSSES
        if isinstance(prune, dict) and "importance" in prune:
            import edgekd.prune.importance  # noqa: F401  (its entries register themselves)
            from edgekd.prune import IMPORTANCES

            yield (*section, Prune.name, "importance"), IMPORTANCES


def _layers(recipe: Recipe) -> Iterator[tuple[Loc, str, bool]]:
    """The place and name of each layer, and whether it is the teacher's."""
    for number, stage in enumerate(recipe.stages):
        section: Loc = ("stages", number, stage.name)
        if isinstance(stage, Prune | Factorize):
            yield from (((*section, "ignore", index), layer, False) for index, layer in enumerate(stage.ignore))
        if isinstance(stage, Distill):
            losses = [(section, stage), *(((*section, "also", at), each) for at, each in enumerate(stage.also))]
            for loc, loss in losses:
                for index, pair in enumerate(loss.pairs or ()):
                    yield from (((*loc, "pairs", index, side), pair[side], side == 1) for side in (0, 1))


def _built(recipe: Recipe, name: str, args: dict[str, object]) -> nn.Module:
    import torch

    from edgekd.errors import ModelError
    from edgekd.models import build

    data = recipe.data
    source = SOURCES.get(data.source)
    if source is None or not source.images:
        raise ModelError(f"the shape of samples of {data.source} is not known")
    channels = 1 if data.grayscale else CHANNELS.get(data.source, 3) if data.grayscale is None else 3
    side = data.image_size or SIDE
    with torch.random.fork_rng(devices=[]):
        return build(name, (channels, side, side), CLASSES, **args)


def _why_no_layer(network: nn.Module, layer: str, pattern: bool) -> str | None:
    if pattern:
        from edgekd.prune.prunable import matching_layers

        try:
            matching_layers(network, [layer])
        except EdgekdError as error:
            return str(error).partition(": ")[2]
        return None
    names = [name for name, _ in network.named_modules() if name]
    return None if layer in names else f"no layer is called {layer!r}{nearest(layer, names)}"
