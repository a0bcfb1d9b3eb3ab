"""The signature of a network, found by running it on an example."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgekd.errors import ModelError
from edgekd.models.inputs import must_take
from edgekd.models.modes import in_evaluation
from edgekd.tasks.signature import INPUT, OpenDimension, Signature, TensorSpec
from edgekd.tasks.tensors import Inputs, arguments_of, output_tensors


def find_signature(
    network: nn.Module,
    example: Inputs,
    *,
    open: Mapping[str, Mapping[int, str]] | None = None,
    limits: Mapping[str, tuple[int | None, int | None]] | None = None,
    outputs: Sequence[str] = (),
) -> Signature:
    """Find the inputs and outputs of ``network`` by one pass in evaluation mode, and another for each open dimension.

    >>> find_signature(network, (image, tokens), open={"tokens": {1: "length"}})  # doctest: +SKIP

    A bare tensor is ``input``; those of a tuple have the names of the parameters of ``forward``, those of a dict its
    keys. A bare output is ``logits``; those of a dict have its keys, others ``output_0``, ``output_1`` and so on.

    Integers are bounded by the rows of the embedding that they index directly, otherwise by the example's values;
    floats by 0 and 1, or the example's values outside of these.

    Args:
        example: a batch of inputs that the network takes, the batch in front.
        open: the axes of inputs whose size differs from call to call, with a name for each; one name is one size. The
            batch, axis 0, is always open.
        limits: the least and the largest size of open dimensions, None for no limit. Where the network refuses a size
            three times the example's, as one with a table of positions does, the example's is the largest.
        outputs: names for the outputs in their order, in place of those found.

    Raises:
        ModelError: the network does not take the example, names do not fit, or an output has no batch.
    """
    names, tensors = _named_inputs(network, example)
    open, limits = open or {}, limits or {}
    specs, sizes = _input_specs(names, tensors, open)
    traced = _IndexTrace(tensors)
    found = _outputs_of(network, tensors, traced)
    bounded = [traced.bounded(spec, tensor) for spec, tensor in zip(specs, tensors, strict=True)]
    if outputs and len(outputs) != len(found):
        raise ModelError(f"{len(outputs)} names are given for the {len(found)} outputs {', '.join(found)}")
    dimensions = [OpenDimension(name, size, *limits.get(name, (None, None))) for name, size in sizes.items()]
    if unknown := next((name for name in limits if name not in sizes), None):
        raise ModelError(f"limits are given for {unknown!r}, which no axis of an input is named")
    inputs = Signature(tuple(bounded), (), tuple(dimensions))
    shapes: list[tuple[int | str, ...]] = [tuple(each.shape[1:]) for each in found.values()]
    limited = []
    for dimension in inputs.open:
        again = _again(network, inputs, dimension, len(tensors[0]))
        limited.append(again.dimension)
        shapes = [again.named(*each) for each in zip(found, shapes, found.values(), again.outputs, strict=True)]
    specs = [
        TensorSpec(name, shape, _dtype(tensor))
        for name, shape, tensor in zip(outputs or found, shapes, found.values(), strict=True)
    ]
    return Signature(inputs.inputs, tuple(specs), tuple(limited))


def _named_inputs(network: nn.Module, example: Inputs) -> tuple[list[str], tuple[Tensor, ...]]:
    if isinstance(example, Tensor):
        return [INPUT], (example,)
    parameters = [
        each.name
        for each in inspect.signature(network.forward).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(example, Mapping):
        names = list(example)
        order = parameters[: len(names)]
        if sorted(order) != sorted(names):
            raise ModelError(
                f"{type(network).__name__}.forward takes {', '.join(parameters)}, and the example has "
                f"{', '.join(names)}: wrap the network in a module whose forward takes exactly these, one by one"
            )
        return order, tuple(example[name] for name in order)
    tensors = arguments_of(example)
    names = parameters if len(parameters) >= len(tensors) else [f"{INPUT}_{index}" for index in range(len(tensors))]
    return names[: len(tensors)], tensors


def _input_specs(
    names: Sequence[str], tensors: Sequence[Tensor], axes: Mapping[str, Mapping[int, str]]
) -> tuple[list[TensorSpec], dict[str, int]]:
    if unknown := next((name for name in axes if name not in names), None):
        raise ModelError(f"no input is named {unknown!r}; the inputs are {', '.join(names)}")
    batches = {len(each) if each.ndim else 0 for each in tensors}
    if len(batches) != 1 or 0 in batches:
        raise ModelError(f"the example's tensors have batches of {sorted(batches)}: give one size for all, in axis 0")
    sizes: dict[str, int] = {}
    specs = []
    for name, tensor in zip(names, tensors, strict=True):
        shape: list[int | str] = list(tensor.shape[1:])
        for axis, dimension in axes.get(name, {}).items():
            if not 0 < axis < tensor.ndim:
                raise ModelError(
                    f"axis {axis} of {name!r} cannot be named: give 1 to {tensor.ndim - 1}; axis 0 is the batch"
                )
            if sizes.setdefault(dimension, tensor.shape[axis]) != tensor.shape[axis]:
                raise ModelError(
                    f"the open dimension {dimension!r} has {sizes[dimension]} and {tensor.shape[axis]} in the example: "
                    "one name is one size"
                )
            shape[axis - 1] = dimension
        specs.append(TensorSpec(name, tuple(shape), _dtype(tensor)))
    return specs, sizes


class _IndexTrace(TorchFunctionMode):
    """Notes for each input that indexes an embedding directly how many rows it may choose from."""

    def __init__(self, inputs: Sequence[Tensor]):
        super().__init__()
        self.rows: dict[int, int] = {}
        self.inputs = {id(each) for each in inputs}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
        if func is F.embedding and id(given["input"]) in self.inputs:
            index = id(given["input"])
            self.rows[index] = min(len(given["weight"]), self.rows.get(index, len(given["weight"])))
        return func(*args, **(kwargs or {}))

    def bounded(self, spec: TensorSpec, tensor: Tensor) -> TensorSpec:
        low, high = (0.0, 1.0)
        if id(tensor) in self.rows:
            high = self.rows[id(tensor)] - 1
        elif tensor.numel():
            low, high = (float(each) for each in torch.aminmax(tensor.to(torch.float64)))
            if spec.is_float or spec.dtype == "bool":
                low, high = min(low, 0.0), max(high, 1.0)
        return TensorSpec(spec.name, spec.shape, spec.dtype, (low, high))


def _outputs_of(network: nn.Module, inputs: Sequence[Tensor], trace: _IndexTrace | None = None) -> dict[str, Tensor]:
    with torch.no_grad(), in_evaluation(network), must_take(network, inputs), trace or nullcontext():
        given = network(*inputs)
    found = output_tensors(given)
    for name, tensor in found.items():
        if not tensor.ndim or len(tensor) != len(inputs[0]):
            raise ModelError(
                f"{type(network).__name__} gives {name!r} of shape {tuple(tensor.shape)} for {len(inputs[0])} samples: "
                "every output has the batch in front; leave out losses and what is common to all samples"
            )
    return found


# How many times the example's size another one is, so that no stride hides the change.
FAR = 3


@dataclass(frozen=True)
class _Again:
    """The outputs of a pass in which ``dimension`` has another ``size`` than in the example."""

    dimension: OpenDimension
    size: int
    outputs: list[Tensor]

    def named(self, name: str, shape: Sequence[int | str], before: Tensor, after: Tensor) -> tuple[int | str, ...]:
        """Return the ``shape`` of the output ``name`` with names for those axes that changed with the dimension."""
        own = (self.dimension.size, self.size)
        return tuple(
            known if was == now else self.dimension.name if known == was and (was, now) == own else _derived(name, axis)
            for axis, (known, was, now) in enumerate(
                zip(shape, before.shape[1:], after.shape[1:], strict=True), start=1
            )
        )


def _again(network: nn.Module, inputs: Signature, dimension: OpenDimension, batch: int) -> _Again:
    """Run the network at another size of ``dimension``, with the example's as the limit if a larger one fails."""
    name, usual, most = dimension.name, dimension.size, dimension.most
    weight, failed = next(network.parameters(), None), None
    for size in (min(FAR * usual, most or FAR * usual), max(usual // FAR, dimension.least or 1)):
        if size == usual:
            continue
        try:
            found = _outputs_of(network, inputs.sized(**{name: size}).example(batch, like=weight))
        except ModelError as error:
            failed = error
        else:
            known = dimension if failed is None else replace(dimension, most=usual)
            return _Again(known, size, list(found.values()))
    reason = f": {failed}" if failed else ""
    raise ModelError(f"the open dimension {name!r} has no other size than {usual}: give it as a fixed one{reason}")


def _derived(name: str, axis: int) -> str:
    text = "".join(letter if letter.isalnum() else "_" for letter in f"{name}_{axis}")
    return text if text.isidentifier() else f"output_{text}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
