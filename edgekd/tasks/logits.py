"""The output that a task decodes: a logit for each class or label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from edgekd.errors import ModelError
from edgekd.tasks.tensor_spec import FLOATS, LOGITS

if TYPE_CHECKING:
    from edgekd.tasks.signature import Signature
    from edgekd.tasks.task import OutputShapes

Output = TypeVar("Output")  # an array or a tensor


def must_give_logits(signature: Signature, wanted: OutputShapes, kind: str) -> None:
    """Refuse a network that does not give one output of logits of a ``wanted`` shape, and nothing else.

    Args:
        kind: what each logit is of, in the singular, for the message.

    Raises:
        ModelError: it gives other outputs.
    """
    found = [(each.name, each.shape) for each in signature.outputs]
    if len(found) != 1 or found[0][0] != LOGITS or not fits(found[0][1], wanted):
        given = ", ".join(f"{name!r} of shape {shape}" for name, shape in found) or "nothing"
        raise ModelError(
            f"the network gives {given}; expected one output {LOGITS!r} of shape {shown(wanted)}, a logit for each "
            f"{kind}: return that alone, or name another task"
        )
    if (dtype := signature.outputs[0].dtype) not in FLOATS:
        raise ModelError(f"the network gives {dtype} values; logits are floating-point numbers")


def decoded(outputs: Mapping[str, Output], wanted: Mapping[str, OutputShapes]) -> dict[str, Output]:
    """Return those of a file's ``outputs`` that a task decodes, by name; all where it decodes any.

    Where none is called ``logits`` the first stands for it: files of others may name their one output as they like.

    Args:
        wanted: see :attr:`edgekd.tasks.task.Task.output_shapes`.

    Raises:
        ModelError: an output is missing.
    """
    names = names_in_file(list(outputs), wanted)
    if missing := next((name for name in names.values() if name not in outputs), None):
        raise ModelError(f"the file gives {', '.join(outputs)}; the task decodes {missing!r}: export it with that name")
    return {name: outputs[given] for name, given in names.items()}


def names_in_file(given: Sequence[str], wanted: Mapping[str, OutputShapes]) -> dict[str, str]:
    """Return by the names of the outputs that a task decodes those that a file with the outputs ``given`` has."""
    if not wanted:
        return {name: name for name in given}
    return {name: given[0] if name == LOGITS and name not in given else name for name in wanted}


def must_have_outputs(outputs: Mapping[str, tuple[int, ...]], wanted: Mapping[str, OutputShapes], network: str) -> None:
    """Refuse outputs of other names or shapes than a task decodes.

    Args:
        outputs: their shapes (N, ...) by name.
        wanted: those of one sample, see :attr:`edgekd.tasks.task.Task.output_shapes`.

    Raises:
        ModelError: it names ``network``.
    """
    for name, shapes in wanted.items():
        if name not in outputs:
            raise ModelError(
                f"{network} gives {', '.join(outputs)}: call the output that is learned {name!r}, in a dict that "
                "forward returns"
            )
        if not fits(outputs[name][1:], shapes):
            raise ModelError(f"{network} gives {name!r} of shape {outputs[name]}, expected {shown(shapes, 'N')}")


def shown(shapes: OutputShapes, *batch: object) -> str:
    """Return shapes, behind their batch, as text for a message: ``(N, 6) or (N, 3, any, any)``."""
    texts = (", ".join(map(str, (*batch, *(size or "any" for size in shape)))) for shape in shapes)
    return " or ".join(f"({text})" if ", " in text else f"({text},)" for text in texts)


def fits(shape: tuple[int | str, ...], wanted: OutputShapes) -> bool:
    """Return whether the ``shape`` of one sample is one of the ``wanted`` ones, in which None is any size."""
    return any(
        len(shape) == len(other) and all(size in (None, each) for size, each in zip(other, shape, strict=True))
        for other in wanted
    )
