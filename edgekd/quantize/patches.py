"""Convolutions as matrix products, at selected positions of the output."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

aten = torch.ops.aten

CONVOLUTIONS = {aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding}
MATRIX_PRODUCTS = CONVOLUTIONS | {aten.linear.default}


@dataclass(frozen=True)
class MatrixProduct:
    """A layer as a matrix product: ``output[position] = columns · weightᵀ + bias`` for each group of channels.

    >>> product = MatrixProduct.of(node, weight)  # doctest: +SKIP
    """

    kernel: tuple[int, int] | None
    """(rows, columns) of a convolution, None for a linear layer."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """In the order of ``torch.nn.functional.pad``: left, right, top, bottom."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @classmethod
    def of(cls, node: Node, weight: Tensor) -> "MatrixProduct":
        """Return the product that ``node`` computes, a call of one of ``MATRIX_PRODUCTS``."""
        if node.target is aten.linear.default:
            return cls(None)
        kernel = _pair(list(weight.shape[2:]), 1)
        given = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:], strict=False))
        dilation = _pair(given.get("dilation", [1]), 1)
        padding = _padding(given.get("padding", [0]), kernel, dilation)
        groups = given.get("groups", 1)
        assert isinstance(groups, int)
        return cls(kernel, _pair(given.get("stride", [1]), 1), padding, dilation, groups)

    def rows(self, weight: Tensor) -> Tensor:
        """Reshape a weight, its output channels first, to (groups, outputs, columns)."""
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def positions(self, output: Tensor) -> int:
        """Return the number of positions of ``output``: samples times pixels."""
        return output.numel() // output.shape[-1 if self.kernel is None else 1]

    def outputs(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the layer's outputs at the positions ``chosen``, (groups, positions, outputs)."""
        last = output if self.kernel is None else output.movedim(1, -1)
        # not reshape, which would copy all of a transposed output for a few of its positions
        index = torch.unravel_index(chosen, last.shape[:-1])
        return last[index].reshape(len(chosen), self.groups, -1).transpose(0, 1)

    def columns(self, inputs: Tensor, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the layer's inputs for the positions ``chosen``, (groups, positions, columns)."""
        if self.kernel is None:
            return inputs.flatten(0, -2)[chosen][None]
        if inputs.ndim == 3:
            inputs, output = inputs.unsqueeze(2), output.unsqueeze(2)
        sample, row, column = torch.unravel_index(chosen, (len(output), *output.shape[2:]))
        rows = self._window(row, 0)[:, :, None]
        columns = self._window(column, 1)[:, None, :]
        patches = F.pad(inputs, self.padding)[sample[:, None, None], :, rows, columns]
        return patches.movedim(3, 1).reshape(len(chosen), self.groups, -1).transpose(0, 1)

    def _window(self, first: Tensor, axis: int) -> Tensor:
        assert self.kernel is not None
        taps = torch.arange(self.kernel[axis], device=first.device) * self.dilation[axis]
        return first[:, None] * self.stride[axis] + taps


def _pair(values: object, missing: int) -> tuple[int, int]:
    """Return (rows, columns); a one-dimensional convolution has rows of one value."""
    assert isinstance(values, (list, tuple))
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def _padding(given: object, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    if given == "valid":
        return (0, 0, 0, 0)
    if given == "same":
        rows, columns = (size * (taps - 1) for size, taps in zip(dilation, kernel, strict=True))
        return (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    rows, columns = _pair(given, 0)
    return (columns, columns, rows, rows)
