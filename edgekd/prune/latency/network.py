"""The layers of a network and their input sizes, from one forward pass."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from edgekd.errors import ModelError
from edgekd.models.copies import copied
from edgekd.models.inputs import must_take
from edgekd.prune.graph import example_inputs
from edgekd.prune.latency.layer import Layer, Size
from edgekd.tasks.signature import Shape, Signature

ATEN = torch.ops.aten
# Operators that are folded into the layer before them in evaluation mode.
FOLDED = {ATEN.native_batch_norm, ATEN._native_batch_norm_legit_no_training, ATEN.cudnn_batch_norm}
CLAMPS = {
    *(ATEN.relu, ATEN.relu_, ATEN.hardtanh, ATEN.hardtanh_),
    *(ATEN.clamp, ATEN.clamp_, ATEN.clamp_min, ATEN.clamp_min_),
}


def layers_of(network: nn.Module, input_shape: Shape | Signature) -> dict[str, Layer]:
    """Return the convolutions and linear layers by path, in the order in which one inference first calls them.

    ``network`` itself is left as it is. Layers whose module is not called, such as the projections of PyTorch's
    attention, are not found.

    Args:
        input_shape: shape of one input, without the batch; or a signature.

    Raises:
        ModelError: the network does not take such an input, or calls no such layer.
    """
    network = copied(network).eval()
    found: dict[str, Layer] = {}
    sizes: dict[str, list[Size]] = defaultdict(list)
    follow = _Activations()

    def called(path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.setdefault(path, _layer(module))
        sizes[path] += _sizes(module, inputs[0])
        follow.made[output] = path

    modules = {path: module for path, module in network.named_modules() if isinstance(module, _ConvNd | nn.Linear)}
    for path, module in modules.items():
        module.register_forward_hook(partial(called, path))
    example = example_inputs(network, input_shape, batch=1) if modules else ()
    with must_take(network, example), torch.no_grad(), follow:
        if modules:
            network(*example)
    if not found:
        raise ModelError(f"{type(network).__name__} calls no convolution and no linear layer: there is nothing to time")
    return {
        path: replace(layer, sizes=tuple(sizes[path]), activation=path in follow.active)
        for path, layer in found.items()
    }


class _Activations(TorchDispatchMode):
    """Finds the layers whose output goes into a ReLU or another clamp, be it a module or a function."""

    def __init__(self) -> None:
        super().__init__()
        self.made = WeakTensorKeyDictionary()
        self.active: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Before the call: in place, the result is the same tensor.
        path = self.made.get(args[0]) if args and isinstance(args[0], Tensor) else None
        result = func(*args, **(kwargs or {}))
        if path and func.overloadpacket in CLAMPS:
            self.active.add(path)
        elif path and func.overloadpacket in FOLDED:
            self.made[result[0]] = path
        return result


def _layer(module: nn.Module) -> Layer:
    if isinstance(module, nn.Linear):
        return Layer("linear", module.in_features, module.out_features, ())
    assert isinstance(module, _ConvNd)
    transposed = isinstance(module, _ConvTransposeNd)
    return Layer(
        "conv_transpose" if transposed else "conv",
        module.in_channels,
        module.out_channels,
        (),
        tuple(module.kernel_size),
        tuple(module.stride),
        _padding(module),
        tuple(module.dilation),
        tuple(module.output_padding) if transposed else (),
        module.groups,
    )


def _padding(module: _ConvNd) -> Size:
    if module.padding == "valid":
        return (0,) * 2 * len(module.kernel_size)
    if module.padding == "same":
        total = [dilation * (kernel - 1) for dilation, kernel in zip(module.dilation, module.kernel_size, strict=True)]
        return (*(each // 2 for each in total), *(each - each // 2 for each in total))
    assert isinstance(module.padding, tuple)
    return (*module.padding, *module.padding)


def _sizes(module: nn.Module, x: Tensor) -> list[Size]:
    """Return one size, or one for each sample where the network makes several of one, such as windows or patches."""
    shape = tuple(x.shape)
    if isinstance(module, nn.Linear):
        return [shape[1:-1] if shape[0] == 1 and len(shape) > 1 else shape[:-1]]
    assert isinstance(module, _ConvNd)
    rank = len(module.kernel_size)
    return [shape[-rank:]] * (shape[0] if len(shape) == rank + 2 else 1)
