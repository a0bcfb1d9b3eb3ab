"""Tensors that a network takes and gives: a bare one, several in their order, or several by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekd.errors import ModelError
from edgekd.tasks.tensor_spec import LOGITS

if TYPE_CHECKING:
    from typing import TypeAlias

    from torch import Tensor

# Inputs of a network: the tensor (N, ...) of one, or those of several in their order or by their names.
Inputs: TypeAlias = "Tensor | Sequence[Tensor] | Mapping[str, Tensor]"
# The same as data sets give them.
Named: TypeAlias = "Tensor | dict[str, Tensor]"


def arguments_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the arguments of a call ``network(*arguments)`` from a batch; those of a mapping in its own order."""
    from torch import Tensor

    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(inputs.values() if isinstance(inputs, Mapping) else inputs)


def map_inputs(inputs: Named, change: Callable[[Tensor], Tensor]) -> Named:
    """Return a batch whose tensors are ``change`` of those of ``inputs``, a tensor or several by name."""
    from torch import Tensor

    return change(inputs) if isinstance(inputs, Tensor) else {name: change(each) for name, each in inputs.items()}


def only(inputs: Named) -> Tensor:
    """Return the one tensor of a batch.

    Raises:
        ModelError: it has several.
    """
    from torch import Tensor

    if not isinstance(inputs, Tensor):
        raise ModelError(f"one input is expected here, and there are several: {', '.join(inputs)}")
    return inputs


def shapes_of(inputs: Inputs) -> str:
    """Return the shapes of a batch's tensors as text: ``(2, 3, 32, 32)``, of several ``(2, 3, 32, 32), (2, 8)``."""
    return ", ".join(str(tuple(each.shape)) for each in arguments_of(inputs))


def output_tensors(outputs: Any) -> dict[str, Tensor]:
    """Return the tensors of a network's outputs by their place: keys and indices, joined by a dot.

    A bare tensor is ``logits``; those of tuples and lists are ``output_0``, ``output_1`` and so on.

    Raises:
        ModelError: there is something else than tensors, or no tensor.
    """
    from torch import Tensor
    from torch.utils._pytree import tree_flatten_with_path

    leaves, _ = tree_flatten_with_path(outputs)
    found: dict[str, Tensor] = {}
    for path, leaf in leaves:
        if leaf is None:
            continue
        name = _place(path) if path else LOGITS
        if not isinstance(leaf, Tensor):
            raise ModelError(
                f"the network gives a {type(leaf).__name__} as {name!r}: return tensors, alone or in tuples, lists and "
                "dicts"
            )
        if name in found:
            raise ModelError(f"two outputs of the network are called {name!r}: give them other keys")
        found[name] = leaf
    if not found:
        raise ModelError("the network gives no tensor: return at least one")
    return found


def _place(path: Sequence[Any]) -> str:
    parts = [str(getattr(each, "key", getattr(each, "idx", getattr(each, "name", "")))) for each in path]
    return "_".join(["output", *parts]) if all(part.isdigit() for part in parts) else ".".join(parts)
