"""Convolutions whose output is chunked in two, and whose halves meet again in a concatenation, become two of them.

C2f, C3k2 and other cross-stage blocks are made so. torch-pruning maps the channels of such a chunk with wrong offsets
(Torch-Pruning's issue 147), and a chunk takes equal halves alone. Of two convolutions each has a width of its own, and
the outputs are the same to the bit.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from edgekd.errors import ModelError
from edgekd.models.modes import in_evaluation
from edgekd.tasks.signature import Shape, Signature

HALVES = "halves"
CHUNKS = frozenset({"chunk", "split", "tensor_split", "split_with_sizes"})
CONCATENATIONS = frozenset({"cat", "concat", "concatenate"})


class Halves(tuple[Tensor, ...]):
    """Two tensors in place of the one that is chunked or split into them; it can do nothing else."""

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """Return the two, as the tensor's method of this name did."""
        return tuple(self)

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Return the two, whose sizes may have changed since the call was written."""
        return tuple(self)

    tensor_split = split

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ not in CHUNKS:
            raise ModelError(f"two halves of channels stand where {func.__name__} expects one tensor")
        return tuple(args[0] if args else (kwargs or {})["input"])


class HalvedConvolution(nn.Module):
    """A convolution and what follows it, once for each half of its channels."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Halves:
        return Halves((self.first(x), self.second(x)))


def chunked_layers(network: nn.Module, input_shape: Shape | Signature) -> list[str]:
    """Return the paths of modules of one convolution each that :func:`halve` can replace, found by one pass.

    Only those whose output is chunked into two equal halves of channels, of which one goes into a concatenation as it
    is, and used for nothing else; of a module that is called several times each output.
    """
    trace, hooks = _Trace(), []
    for path, module in network.named_modules():
        if path:
            hooks.append(module.register_forward_hook(lambda _, __, out, path=path: trace.note(path, out)))
    try:
        with torch.no_grad(), in_evaluation(network), trace:
            network(*Signature.of(input_shape).example(2, like=next(network.parameters(), None)))
    except Exception:  # who cuts channels says why the network does not run
        return []
    finally:
        for hook in hooks:
            hook.remove()
    modules = dict(network.named_modules(remove_duplicate=False))
    found = (next((path for path in reversed(paths) if _is_one(modules[path])), None) for paths in trace.halved())
    counts = Counter(path for path in found if path is not None)
    return [path for path, count in counts.items() if count == trace.calls[path]]


def halve(network: nn.Module, path: str) -> None:
    """Replace the module at ``path``, in place, by a :class:`HalvedConvolution`.

    Raises:
        ModelError: it is not one convolution of an even number of channels and what follows it.
    """
    module = network.get_submodule(path)
    if not _is_one(module):
        raise ModelError(f"{path!r} is not one convolution of an even number of channels")
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, HalvedConvolution(_half(module, 0), _half(module, 1)))


def halved_widths(network: nn.Module) -> dict[str, int]:
    """Return the output channels of both halves together, by the paths that the convolutions had before."""
    found = {}
    for path, module in network.named_modules():
        if isinstance(module, HalvedConvolution):
            pairs = zip(module.first.named_modules(), module.second.modules(), strict=True)
            for (inner, first), second in pairs:
                if isinstance(first, _ConvNd) and isinstance(second, _ConvNd):
                    found[f"{path}.{inner}".rstrip(".")] = first.out_channels + second.out_channels
    return found


class _Trace(TorchFunctionMode):
    """Which modules gave each tensor, what is chunked, and what is concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.makers: dict[int, list[str]] = {}
        self.uses: dict[int, int] = {}
        self.chunks: list[tuple[Tensor, tuple[Tensor, ...]]] = []
        self.joined: set[int] = set()
        self.kept: list[Any] = []  # so that no identity is given twice

    def note(self, path: str, output: Any) -> None:
        self.calls[path] += 1
        if isinstance(output, Tensor):
            self.kept.append(output)
            self.makers.setdefault(id(output), []).append(path)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, name = func(*args, **(kwargs or {})), func.__name__
        given = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, Tensor)]
        if name in ("__get__", "size", "dim") or any(result is each for each in given):
            return result
        for each in given:
            self.uses[id(each)] = self.uses.get(id(each), 0) + 1
        if name in CHUNKS and isinstance(result, (tuple, list)):
            self.chunks.append((given[0], tuple(result)))
        elif name in CONCATENATIONS:
            self.joined |= {id(each) for each in given}
        self.kept += [given, result]
        return result

    def halved(self) -> list[list[str]]:
        """Return for each such chunk the modules that gave what is chunked, the innermost first."""
        return [
            self.makers[id(whole)]
            for whole, parts in self.chunks
            if len(parts) == 2
            and self.uses[id(whole)] == 1
            and id(whole) in self.makers
            and all(2 * each.shape[1] == whole.shape[1] for each in parts)
            and any(id(each) in self.joined for each in parts)
        ]


def _is_one(module: nn.Module) -> bool:
    weighted = [each for each in module.modules() if any(True for _ in each.parameters(recurse=False))]
    layers = [each for each in weighted if isinstance(each, _ConvNd)]
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    if len(layers) != 1 or len(weighted) != 1 + sum(each.affine for each in norms):
        return False
    [layer] = layers
    width = layer.out_channels
    return width % 2 == 0 and layer.groups == 1 and all(each.num_features == width for each in norms)


def _half(module: nn.Module, which: int) -> nn.Module:
    half = copy.deepcopy(module)
    for each in half.modules():
        if isinstance(each, (_ConvNd, _BatchNorm)):
            for name, values in [*each.named_parameters(recurse=False), *each.named_buffers(recurse=False)]:
                if values.ndim:
                    part = values.detach().chunk(2)[which].clone()
                    is_weight = isinstance(values, nn.Parameter)
                    setattr(each, name, nn.Parameter(part, values.requires_grad) if is_weight else part)
        if isinstance(each, _ConvNd):
            each.out_channels //= 2
        elif isinstance(each, _BatchNorm):
            each.num_features //= 2
    return half
