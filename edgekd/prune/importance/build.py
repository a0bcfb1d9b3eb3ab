from edgekd.errors import ModelError
from edgekd.prune.importance.group import GroupImportance
from edgekd.prune.registry import IMPORTANCES, Importance


def build_importance(name: str, reduction: str | None = None) -> Importance:
    """Build the importance called ``name``, with its own reduction unless another one is given.

    >>> build_importance("taylor", reduction="max").gradients
    'batch'

    Raises:
        ModelError: there is no such importance or reduction, or it has nothing to reduce.
    """
    kind = IMPORTANCES.find(name)
    if reduction is None:
        return kind()
    if not issubclass(kind, GroupImportance):
        reducing = [each for each, other in IMPORTANCES.items() if issubclass(other, GroupImportance)]
        raise ModelError(
            f"importance {name!r} has no layers to reduce over: leave reduction {reduction!r} out, or choose one of "
            + ", ".join(sorted(reducing))
        )
    return kind(reduction=reduction)
