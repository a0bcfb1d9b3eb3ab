"""Names in a recipe's student and stages that nothing is registered under."""

from collections.abc import Iterator

from edgekd.errors import EdgekdError
from edgekd.models.build import must_be_known
from edgekd.recipe.tree import Loc, Tree
from edgekd.stages.work import WORK


def unknown_names(tree: Tree) -> Iterator[tuple[Loc, str]]:
    """Yield where in a recipe's ``tree`` a name is unknown, and the message with the nearest known one."""
    model = tree.at(("student", "model"))
    if isinstance(model, str):
        try:
            must_be_known(model)
        except EdgekdError as error:
            yield ("student", "model"), str(error)
    stages = tree.at(("stages",))
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        for name, settings in stage.items() if isinstance(stage, dict) else ():
            yield from _unknown_to(name, settings, ("stages", index, name))


def _unknown_to(stage: str, settings: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if stage not in WORK or not isinstance(settings, dict):
        return
    for path, name, registry in WORK[stage].names(settings):
        if isinstance(name, str) and name:
            try:
                registry.find(name)
            except EdgekdError as error:
                yield (*loc, *path), str(error)
