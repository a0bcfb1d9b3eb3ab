"""The signature of a network: its inputs and outputs by name, and the dimensions that it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgekd.errors import EdgekdError, ModelError, first_line
from edgekd.nearest import nearest
from edgekd.strict_json import parse
from edgekd.tasks.tensor_spec import BATCH, EXPECTED, UNBOUNDED, is_dimension
from edgekd.tasks.tensor_spec import INPUT as INPUT
from edgekd.tasks.tensor_spec import LOGITS as LOGITS
from edgekd.tasks.tensor_spec import Shape as Shape
from edgekd.tasks.tensor_spec import TensorSpec as TensorSpec
from edgekd.tasks.tensors import Inputs, arguments_of, output_tensors

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from torch.export import Dim

    from edgekd.strict_json import JsonObject

# The key of an ONNX file's metadata that holds a signature, behind a dot.
METADATA = "signature"


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
        if not is_dimension(self.name) or not isinstance(self.name, str):
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
            spec.example(shape, like, generator) for spec, shape in zip(self.inputs, self.shapes(batch), strict=True)
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
            "inputs": [each.to_json() for each in self.inputs],
            "outputs": [each.to_json() for each in self.outputs],
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
        read = {key: tuple(map(TensorSpec.from_json, document[key])) for key in ("inputs", "outputs")}
        return Signature(**read, open=tuple(OpenDimension(**each) for each in document.get("open", ())))


def call(network: nn.Module, inputs: Inputs, signature: Signature | None = None) -> dict[str, Tensor]:
    """Return the outputs of ``network`` for a batch, by the names of ``signature``, or as :func:`output_tensors`."""
    if signature is not None:
        return signature.named(network(*signature.arguments(inputs)))
    return output_tensors(network(*arguments_of(inputs)))
