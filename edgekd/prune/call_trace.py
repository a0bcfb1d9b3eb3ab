"""A trace of the functions that a network's forward pass calls, without normalisation over channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from edgekd.errors import first_line

Shape = tuple[int, ...]
# These keep channels where they are, or are known layers: where outputs differ, another operation is the cause.
KNOWN = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"),
        *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "dropout", "prelu"),
        *("relu", "relu_", "relu6", "hardtanh", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "mish"),
        *("elu", "leaky_relu", "clamp", "exp", "sqrt", "pow", "neg", "add", "add_", "mul", "mul_", "sub", "div"),
        *("__add__", "__radd__", "__iadd__", "__mul__", "__rmul__", "__imul__", "__sub__", "__truediv__", "mean"),
        *("max_pool1d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d_with_indices", "interpolate"),
        *("cat", "embedding", "flatten", "permute", "transpose", "contiguous", "size", "dim"),
    }
)
# Attributes of tensors, and the calls of `with torch.no_grad()`.
UNCOUNTED = frozenset({"__get__", "__set__", "_set_grad_enabled", "set_grad_enabled"})


@dataclass(frozen=True)
class FunctionCall:
    """A function called in the module at ``path``, with the shapes of its arguments and results."""

    path: str
    name: str
    arguments: tuple[Shape, ...] = ()
    results: tuple[Shape, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} in {self.path!r}" if self.path else self.name


class CallTrace(TorchFunctionMode):
    """A context manager that records the ``calls`` of ``network``; norms over channels only bound each value."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.calls: list[FunctionCall] = []
        self._network, self._inside = network, [""]
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> "CallTrace":
        for path, module in self._network.named_modules():
            self._hooks.append(module.register_forward_pre_hook(lambda *_, path=path: self._inside.append(path)))
            self._hooks.append(module.register_forward_hook(lambda *_: self._leave()))
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", str(func))
        if name in UNCOUNTED:
            return func(*args, **(kwargs or {}))
        arguments = tuple(_shapes((args, list((kwargs or {}).values()))))
        self.calls.append(FunctionCall(self._inside[-1], name, arguments))
        result = NORMS.get(func, func)(*args, **(kwargs or {}))
        self.calls[-1] = FunctionCall(self._inside[-1], name, arguments, tuple(_shapes(result)))
        return result

    def _leave(self) -> None:
        self._inside.pop()


def failing_operation(
    expected: Sequence[FunctionCall], found: Sequence[FunctionCall], error: Exception | None
) -> tuple[str, str]:
    """Return the operation at which the cut network departs from the uncut one, and the reason in words.

    Args:
        expected: calls of the uncut network.
        found: calls of the cut network.
        error: the exception in which the cut network ended, if it did.
    """
    cut: list[FunctionCall] = []
    for before, after in zip(expected, found, strict=False):
        if before.name != after.name:
            break
        if any(a[:1] != b[:1] or len(a) != len(b) for a, b in zip(before.results, after.results, strict=False)):
            return str(after), f"{after} has a fixed size"
        if before.arguments != after.arguments:
            cut.append(after)
    suspects = [call for call in cut if call.name not in KNOWN]
    if error is None:
        calls = suspects or cut[-1:]
        where = str(calls[0]) if calls else "an operation"
        return where, f"{where} does not keep channels apart"
    # A known operation fails because one before it gave it a width that it cannot take.
    calls = suspects or list(found)
    where = str(calls[-1]) if calls else "the forward pass"
    return where, f"{where} needs this width ({first_line(error)[:120]})"


def _bounded(x: Tensor) -> Tensor:
    return x / (1 + x.abs())


def _layer_norm(input: Tensor, shape: Any, weight: Any = None, bias: Any = None, *_: Any, **__: Any) -> Tensor:
    x = _bounded(input) if weight is None else _bounded(input) * weight
    return x if bias is None else x + bias


def _group_norm(input: Tensor, groups: int, weight: Any = None, bias: Any = None, *_: Any, **__: Any) -> Tensor:
    if input.shape[1] % groups:
        raise ValueError(f"{input.shape[1]} channels cannot be normalised in {groups} groups")
    shape = (-1, *(1,) * (input.ndim - 2))
    x = _bounded(input) if weight is None else _bounded(input) * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def _alone(input: Tensor, *_: Any, **__: Any) -> Tensor:
    return _bounded(input)


NORMS: dict[Any, Callable[..., Tensor]] = {
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.rms_norm: _layer_norm,
    torch.rms_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.local_response_norm: _alone,
    F.normalize: _alone,
}


def _shapes(values: Any) -> list[Shape]:
    if isinstance(values, Tensor):
        return [tuple(values.shape)]
    if isinstance(values, (list, tuple)):
        return [shape for each in values for shape in _shapes(each)]
    return []
