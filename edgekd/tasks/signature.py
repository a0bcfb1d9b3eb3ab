"""Inputs and outputs of a network: tensors by name, with shapes, types and bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgekd.errors import EdgekdError, ModelError, first_line
from edgekd.registry import nearest
from edgekd.strict_json import parse

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from torch import Generator, Tensor, nn
    from torch.export import Dim

    from edgekd.strict_json import JsonObject

# Of one sample, without the batch.
Shape = tuple[int, ...]
# Inputs of a network: the tensor (N, ...) of one, or those of several in their order or by their names.
Inputs: TypeAlias = "Tensor | Sequence[Tensor] | Mapping[str, Tensor]"
# The same as data sets give them.
Named: TypeAlias = "Tensor | dict[str, Tensor]"

# What a network that takes and gives bare tensors calls them, in its files too.
INPUT, LOGITS = "input", "logits"
BATCH = "batch"
# The key of an ONNX file's metadata that holds a signature, behind a dot.
METADATA = "signature"
FLOATS = ("float32", "float16", "float64", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = (*FLOATS, *INTEGERS, "bool")
KINDS = ("classes", "labels", "values", "bins", "features")
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a network.

    Attributes:
        name: also its name in the ONNX file and in the bundle.
        shape: of one sample; a str is a named open dimension.
        dtype: one of ``DTYPES``.
        bounds: the least and the largest value that examples, benchmarks and self-tests may hold; ``UNBOUNDED`` for
            values around 0 such as normalised pixels.
        kind: of an output: scores of classes of which one holds, of labels of which any hold, values, bins, features.
        axis: where the classes, labels or bins of an output lie, in ``shape``.

    Raises:
        ModelError: a value is of another type or out of range.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    bounds: tuple[float, float] = (0.0, 1.0)
    kind: Literal["classes", "labels", "values", "bins", "features"] | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        checks = {
            "name": isinstance(self.name, str) and 0 < len(self.name) <= 200 and self.name.isprintable(),
            "shape": all(_is_dimension(each) for each in self.shape),
            "dtype": self.dtype in DTYPES,
            "bounds": self._has_bounds(),
            "kind": self.kind is None or self.kind in KINDS,
            "axis": self.axis is None or (type(self.axis) is int and -len(self.shape) <= self.axis < len(self.shape)),
        }
        for name, holds in checks.items():
            if not holds:
                raise ModelError(
                    f"tensor {str(self.name)[:60]!r} of a signature cannot have {name} {getattr(self, name)!r}: "
                    f"{EXPECTED[name]}"
                )

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def _has_bounds(self) -> bool:
        numbers = len(self.bounds) == 2 and all(map(_is_number, self.bounds))
        return numbers and self.bounds[0] <= self.bounds[1] and (self.is_float or not any(map(math.isinf, self.bounds)))


EXPECTED = {
    "name": "give a text of 1 to 200 printable characters",
    "shape": f"give sizes from 1, or names of open dimensions other than {BATCH!r}, for one sample without its batch",
    "dtype": f"give one of {', '.join(DTYPES)}",
    "bounds": "give the least and the largest value, finite ones for integers",
    "kind": f"give one of {', '.join(KINDS)}, or none",
    "axis": "give an index into the shape, or none",
}


@dataclass(frozen=True)
class OpenDimension:
    """A named dimension whose size differs from call to call, such as the number of tokens.

    Attributes:
        size: in examples, in counts of multiply-accumulates, and in measurements unless they say another.
        least, most: the sizes that the network takes; None where it takes any.
    """

    name: str
    size: int = 8
    least: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        if not _is_dimension(self.name) or not isinstance(self.name, str):
            raise ModelError(f"{self.name!r} is no name of an open dimension: {EXPECTED['shape']}")
        for given in (self.size, self.least, self.most):
            if given is not None and not (type(given) is int and 0 < given < 2**31):
                raise ModelError(f"the open dimension {self.name!r} cannot have the size {given!r}: give 1 or more")
        if not (self.least or 1) <= self.size <= (self.most or self.size):
            raise ModelError(
                f"the open dimension {self.name!r} has examples of {self.size}, outside of {self.least or 1} to "
                f"{self.most or 'any'}"
            )


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a network, in order, the batch before every shape.

    A network is called as ``network(*inputs)``. It may give a tensor, or any nesting of tuples, lists and dicts.

    Attributes:
        inputs, outputs: the tensors; of a network known by its input's shape alone, ``outputs`` is empty.
        open: the open dimensions of ``inputs``, in the order in which they appear there; those that are left out are
            added with the defaults of :class:`OpenDimension`.

    Raises:
        ModelError: a name is given twice, there is no input, or no input has an open dimension of that name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    open: tuple[OpenDimension, ...] = ()

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ModelError("a signature needs an input: name at least one")
        names = [each.name for each in (*self.inputs, *self.outputs)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ModelError(
                f"two tensors of a signature are named {twice!r}: give each input and output its own name (outputs=…)"
            )
        used = self._names_of_dimensions
        declared = [each.name for each in self.open]
        for name in declared:
            if name not in used or declared.count(name) > 1:
                how = "twice" if declared.count(name) > 1 else f"in no input's shape{nearest(name, used)}"
                raise ModelError(f"the open dimension {name!r} of a signature is {how}")
        given = {each.name: each for each in self.open}
        object.__setattr__(self, "open", tuple(given.get(name) or OpenDimension(name) for name in used))

    @staticmethod
    def of(inputs: Shape | Signature) -> Signature:
        """Return a signature as it is, and for the shape of one float input that of a classifier's one tensor."""
        if isinstance(inputs, Signature):
            return inputs
        return Signature((TensorSpec(INPUT, tuple(inputs), bounds=UNBOUNDED),), ())

    @property
    def is_single(self) -> bool:
        """Tell whether there is one float input ``input`` of fixed shape, and one output ``logits`` or none known.

        This is what files mean that name no signature.
        """
        plain = [(each.name, each.dtype) for each in self.inputs] == [(INPUT, "float32")] and not self.dimensions
        return plain and [each.name for each in self.outputs] in ([], [LOGITS])

    @cached_property
    def dimensions(self) -> dict[str, OpenDimension]:
        """Return the open dimensions of the inputs by name, without the batch, in order of their appearance."""
        return {each.name: each for each in self.open}

    @property
    def _names_of_dimensions(self) -> list[str]:
        found = (size for each in self.inputs for size in each.shape if isinstance(size, str))
        return list(dict.fromkeys(found))

    def sized(self, **sizes: int) -> Signature:
        """Return the signature with other sizes of open dimensions in its examples.

        Raises:
            ModelError: there is no such open dimension, or the network does not take the size.
        """
        if unknown := next((name for name in sizes if name not in self.dimensions), None):
            known = f"; open are {', '.join(self.dimensions)}" if self.dimensions else "; every dimension is fixed"
            raise ModelError(f"no input has an open dimension {unknown!r}{known}")
        new = (OpenDimension(each.name, sizes.get(each.name, each.size), each.least, each.most) for each in self.open)
        return Signature(self.inputs, self.outputs, tuple(new))

    def shapes(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of the inputs in examples of ``batch`` samples."""
        return tuple((batch, *(self._size(each) for each in spec.shape)) for spec in self.inputs)

    def _size(self, dimension: int | str) -> int:
        return dimension if isinstance(dimension, int) else self.dimensions[dimension].size

    def example(
        self, batch: int = 2, like: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Make inputs of ``batch`` samples: zeros, or the value nearest to 0 within the bounds.

        Args:
            like: a weight of the network, whose device the inputs lie on, and whose type float32 inputs have.
            generator: draw values within the bounds with it, and where these are infinite from a normal distribution.
        """
        return tuple(
            _values(spec, shape, like, generator) for spec, shape in zip(self.inputs, self.shapes(batch), strict=True)
        )

    def dynamic_shapes(self) -> tuple[dict[int, Dim], ...]:
        """Return the open axes of each input as ``torch.export`` takes them, the batch first."""
        from torch.export import Dim

        batch = Dim(BATCH)
        dims = {
            name: Dim(name, min=each.least, max=each.most) if each.least or each.most else Dim(name)
            for name, each in self.dimensions.items()
        }
        return tuple(
            {0: batch} | {axis: dims[size] for axis, size in enumerate(each.shape, 1) if isinstance(size, str)}
            for each in self.inputs
        )

    def arguments(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Return the arguments of a call ``network(*arguments)``, from a tensor, a sequence, or tensors by name.

        Raises:
            ModelError: there are more or fewer, or they have other names.
        """
        if isinstance(inputs, Mapping):
            names = [each.name for each in self.inputs]
            if missing := next((name for name in names if name not in inputs), None):
                raise ModelError(f"the network takes {', '.join(names)}; the batch has no {missing!r}")
            return tuple(inputs[name] for name in names)
        found = arguments_of(inputs)
        if len(found) != len(self.inputs):
            names = [each.name for each in self.inputs]
            raise ModelError(f"the network takes {len(names)} inputs ({', '.join(names)}); the batch has {len(found)}")
        return found

    def named(self, outputs: Any) -> dict[str, Tensor]:
        """Return the tensors that a network gave, by name and in order.

        Args:
            outputs: a tensor, or any nesting of tuples, lists and dicts. None in it is left out.

        Raises:
            ModelError: there are more or fewer than ``outputs`` of the signature, or something else than tensors.
        """
        found = output_tensors(outputs)
        if not self.outputs:
            return found
        if len(found) != len(self.outputs):
            expected = ", ".join(each.name for each in self.outputs)
            raise ModelError(f"the network gives {len(found)} tensors; expected {len(self.outputs)}: {expected}")
        return {spec.name: tensor for spec, tensor in zip(self.outputs, found.values(), strict=True)}

    def to_json(self) -> JsonObject:
        """Return the signature as JSON, as model.json, ONNX files and manifests keep it."""
        return {
            "inputs": [_to_json(each) for each in self.inputs],
            "outputs": [_to_json(each) for each in self.outputs],
            "open": [vars(each) for each in self.open],
        }

    @staticmethod
    def in_metadata(metadata: Mapping[str, str]) -> Signature | None:
        """Return the signature that an ONNX file's metadata hold, or None for the usual input and output.

        Raises:
            ModelError: it is damaged.
        """
        text = metadata.get(f"edgekd.{METADATA}")
        if text is None:
            return None
        try:
            return Signature.from_json(parse(text.encode()))
        except (EdgekdError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"the signature in the file's metadata is damaged ({first_line(error)}); export it again"
            ) from error

    @staticmethod
    def from_json(document: JsonObject) -> Signature:
        """Read what :meth:`to_json` gives.

        Raises:
            ModelError, ValueError, KeyError, TypeError: it is no signature.
        """
        read = {key: tuple(map(_from_json, document[key])) for key in ("inputs", "outputs")}
        return Signature(**read, open=tuple(OpenDimension(**each) for each in document.get("open", ())))


def arguments_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the arguments of a call ``network(*arguments)`` from a batch; those of a mapping in its own order."""
    from torch import Tensor

    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(inputs.values() if isinstance(inputs, Mapping) else inputs)


def asked_limits(error: BaseException) -> str | None:
    """Return what to change in a signature for ``torch.export``, from its error on a dimension, or None for others.

    It suggests ``length = Dim('length', min=5)``, or ``height = 8*_height`` where only some sizes are taken.
    """
    violated = re.match(r"Constraints violated \((.+?)\)", str(error))
    if violated is None:
        return None
    _, _, suggested = str(error).partition("Suggested fixes:")
    limits, others = {}, []
    for name, wanted in re.findall(r"^\s*([a-zA-Z]\w*) = (.+)$", suggested, re.MULTILINE):
        ends = dict(re.findall(r"(min|max)=(\d+)", wanted))
        if ends:
            limits[name] = tuple(int(ends[end]) if end in ends else None for end in ("min", "max"))
        else:
            others.append(f"{name} = {wanted}")
    reason = f"it does not take every size of {violated[1]}"
    if others:
        return f"{reason}, but only {', '.join(others)}: give fixed sizes, or make the network take them all"
    # No dimension inside may be 1 at the least size, which torch takes for another network.
    advice = f"{limits} or a little more" if limits else "a larger least size, or a smaller largest one"
    return f"{reason}: give the signature limits, {advice}"


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


def call(network: nn.Module, inputs: Inputs, signature: Signature | None = None) -> dict[str, Tensor]:
    """Return the outputs of ``network`` for a batch, by the names of ``signature``, or as :func:`output_tensors`."""
    if signature is not None:
        return signature.named(network(*signature.arguments(inputs)))
    return output_tensors(network(*arguments_of(inputs)))


def logits_of_outputs(outputs: Mapping[str, Tensor], network: str) -> Tensor:
    """Return the output that a task decodes.

    Raises:
        ModelError: none of the outputs is called ``logits``.
    """
    if LOGITS not in outputs:
        raise ModelError(
            f"{network} gives {', '.join(outputs)}: call the output that is learned {LOGITS!r}, in a dict that forward "
            "returns"
        )
    return outputs[LOGITS]


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
        found[name] = leaf
    if not found:
        raise ModelError("the network gives no tensor: return at least one")
    return found


def _place(path: Sequence[Any]) -> str:
    parts = [str(getattr(each, "key", getattr(each, "idx", getattr(each, "name", "")))) for each in path]
    return "_".join(["output", *parts]) if all(part.isdigit() for part in parts) else ".".join(parts)


def _values(spec: TensorSpec, shape: Shape, like: Tensor | None, generator: Generator | None) -> Tensor:
    import torch

    low, high = spec.bounds
    dtype = getattr(torch, spec.dtype)
    if generator is None:
        nearest_to_0 = min(max(0.0, low), high)
        made = torch.full(shape, nearest_to_0 if spec.is_float else int(nearest_to_0), dtype=dtype)
    elif not spec.is_float:
        made = torch.randint(math.ceil(low), math.floor(high) + 1, shape, generator=generator).to(dtype)
    elif math.isinf(high - low):
        made = torch.randn(shape, generator=generator).clamp(low, high).to(dtype)
    else:
        made = (torch.rand(shape, generator=generator) * (high - low) + low).to(dtype)
    if like is None:
        return made
    return made.to(like.device, like.dtype if spec.dtype == "float32" and like.is_floating_point() else dtype)


def _is_dimension(size: object) -> bool:
    if isinstance(size, str):
        return size.isidentifier() and size != BATCH and len(size) <= 100
    return type(size) is int and 0 < size < 2**31


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _to_json(spec: TensorSpec) -> JsonObject:
    bounds = [None if math.isinf(each) else each for each in spec.bounds]
    return {**vars(spec), "shape": list(spec.shape), "bounds": bounds}


def _from_json(document: JsonObject) -> TensorSpec:
    low, high = document["bounds"]
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    return TensorSpec(**{**document, "shape": tuple(document["shape"]), "bounds": bounds})


def must_give_logits(signature: Signature, count: int, kind: str) -> None:
    """Refuse a network that does not give one logit for each of ``count`` classes or labels, and nothing else.

    Args:
        kind: what is counted, in the singular, for the message.

    Raises:
        ModelError: it gives other outputs.
    """
    found = [(each.name, each.shape) for each in signature.outputs]
    if found != [(LOGITS, (count,))]:
        given = ", ".join(f"{name!r} of shape {shape}" for name, shape in found) or "nothing"
        raise ModelError(
            f"the network gives {given}; expected one output {LOGITS!r} of shape {(count,)}, a logit for each {kind}: "
            "return that alone, or name another task"
        )
    if (dtype := signature.outputs[0].dtype) not in FLOATS:
        raise ModelError(f"the network gives {dtype} values; logits are floating-point numbers")
