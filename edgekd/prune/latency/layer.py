"""The description of a layer that its latency depends on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from edgekd.errors import ModelError

Size = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer for one input, without its weights.

    Its input has the shape (``inputs``, \\*size) for convolutions, (\\*size, ``inputs``) for linear layers, without the
    batch. The size is ``()`` for plain features.
    """

    kind: Literal["conv", "conv_transpose", "linear"]
    inputs: int
    outputs: int
    sizes: tuple[Size, ...]
    """The size of the input in each call: (H, W) for images, (L,) for sequences."""
    kernel: Size = ()
    stride: Size = ()
    padding: Size = ()
    """Begin of each axis, then end of each axis, as in ONNX."""
    dilation: Size = ()
    output_padding: Size = ()
    groups: int = 1
    activation: bool = False
    """A ReLU or another clamp follows, which runtimes fuse with the layer."""

    def __str__(self) -> str:
        about = [self.kind, f"{self.inputs}>{self.outputs}"]
        for letter in ("kernel", "stride", "padding", "dilation", "output_padding"):
            if numbers := getattr(self, letter):
                about.append(f"{letter}={_by(numbers)}")
        about += [f"groups={self.groups}"] * (self.groups > 1) + ["relu"] * self.activation
        return " ".join([*about, "at", ",".join(map(_by, self.sizes))])

    @property
    def calls(self) -> int:
        """Return how often one inference computes the layer."""
        return len(self.sizes)

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.inputs == self.outputs

    @property
    def weight_shape(self) -> Size:
        """Return the shape of the weight as PyTorch and ONNX store it."""
        first, second = (self.inputs, self.outputs) if self.kind == "conv_transpose" else (self.outputs, self.inputs)
        return (first, second // self.groups, *self.kernel)

    @property
    def output_sizes(self) -> tuple[Size, ...]:
        return tuple(map(self._output_size, self.sizes))

    @property
    def elements(self) -> int:
        """Return the number of activations that the layer writes in one inference."""
        return self.outputs * sum(map(prod, self.output_sizes))

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one inference."""
        pixels = self.sizes if self.kind == "conv_transpose" else self.output_sizes
        return prod(self.weight_shape) * sum(map(prod, pixels))

    def each_call(self) -> Iterator["Layer"]:
        """Yield the layer with the size of each call."""
        return (replace(self, sizes=(size,)) for size in self.sizes)

    def resized(self, inputs: int, outputs: int, groups: int | None = None) -> "Layer":
        """Return the layer at other widths; a depthwise layer stays depthwise.

        Args:
            groups: the number of groups; as many as now if left out.

        Raises:
            ModelError: the groups do not divide the widths, or those of a depthwise layer differ.
        """
        if min(inputs, outputs) < 1:
            raise ModelError(f"{self} cannot have {inputs} inputs and {outputs} outputs: keep at least one of each")
        if self.is_depthwise:
            if inputs != outputs:
                raise ModelError(
                    f"{self} is depthwise and cannot have {inputs} inputs and {outputs} outputs: make them the same"
                )
            return replace(self, inputs=inputs, outputs=outputs, groups=inputs)
        groups = groups or self.groups
        if inputs % groups or outputs % groups:
            raise ModelError(
                f"{self} cannot have {inputs} inputs and {outputs} outputs: give multiples of its {groups} groups"
            )
        return replace(self, inputs=inputs, outputs=outputs, groups=groups)

    def _output_size(self, size: Size) -> Size:
        if self.kind == "linear":
            return size
        rank = len(self.kernel)
        axes = zip(size, self.kernel, self.stride, self.dilation, self.padding[:rank], self.padding[rank:], strict=True)
        if self.kind == "conv_transpose":
            return tuple(
                (length - 1) * stride - before - behind + dilation * (kernel - 1) + extra + 1
                for (length, kernel, stride, dilation, before, behind), extra in zip(
                    axes, self.output_padding, strict=True
                )
            )
        return tuple(
            (length + before + behind - dilation * (kernel - 1) - 1) // stride + 1
            for length, kernel, stride, dilation, before, behind in axes
        )


def _by(numbers: Size) -> str:
    return "x".join(map(str, numbers)) or "1"
