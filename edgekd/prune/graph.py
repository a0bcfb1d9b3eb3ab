"""The dependency graph of a network: torch-pruning's, held back where it would lead channels astray.

torch-pruning (Fang et al., "DepGraph", 2023) takes an operation that it does not know for one that leaves channels
where they are. Here such an operation is a barrier: what reaches one keeps its width. Barriers are reshapes that
split or mix channels (channel shuffle, windows, attention heads), concatenations of a last dimension, products of
two activations, ``nn.MultiheadAttention``, whose heads must all have one width that the layers around it share, what
takes the network's inputs channel by channel, and convolutions with several inputs for each filter.

Convolutions in groups lose whole groups where they have enough of them: then their inputs go with their outputs.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import Node
from torch_pruning.ops import OPTYPE

from edgekd.errors import ModelError, first_line
from edgekd.prune.grouped import (
    GroupedConvPruner,
    GroupNormPruner,
    can_spare_groups,
    is_grouped,
    tie_sides,
    untie_sides,
)
from edgekd.prune.importance.ties import ties

PRODUCTS = ("bmm", "scaleddotproduct")
UNSIGNED = 2**64
WEIGHTED = (OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR)
CHANNELWISE = (OPTYPE.DEPTHWISE_CONV, OPTYPE.BN, OPTYPE.IN, OPTYPE.GN, OPTYPE.LN, OPTYPE.PRELU)
MAPPED = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.RESHAPE, OPTYPE.UNBIND, OPTYPE.EXPAND, OPTYPE.SLICE)


class Nodes(dict[Any, Node]):
    """Nodes by module; ``shown`` are those that torch-pruning sees when it asks for ``items`` to map their indices."""

    shown: Sequence[Node] | None = None

    def items(self) -> Any:
        return super().items() if self.shown is None else [(node.module, node) for node in self.shown]


class ChannelGraph(tp.DependencyGraph):  # type: ignore[misc]
    """Which channels of which layers hang together; :func:`channel_graph` makes one."""

    module2node: Nodes

    def __init__(self) -> None:
        super().__init__()
        self.barriers: set[Node] = set()
        self.outputs: list[nn.Module] = []
        self._mapped: dict[Node, list[int] | None] = {}
        self._grouped, self._norms = GroupedConvPruner(), GroupNormPruner()
        self._own_pruners: dict[nn.Module, tp.BasePruningFunc] = {}
        self._in_channel_pruning_fn |= {self._grouped.prune_in_channels, self._norms.prune_in_channels}
        self._out_channel_pruning_fn |= {self._grouped.prune_out_channels, self._norms.prune_out_channels}

    def build_dependency(self, *arguments: Any, **options: Any) -> "ChannelGraph":
        super().build_dependency(*arguments, **options)
        # All are looked at before any is tied: one that cannot does not hold back its neighbours.
        nodes = [node for node in self.module2node.values() if self._can_lose_groups(node)]
        for node in nodes:
            tie_sides(node, self._grouped)
        for group in list(self.get_all_groups()) if nodes else ():
            if ties(group).scores == 1:
                for dependency, _ in group:
                    untie_sides(dependency.target)
        return self

    def get_pruner_of_module(self, module: nn.Module) -> Any:
        return self._own_pruners.get(module) or super().get_pruner_of_module(module)

    def get_all_groups(
        self, ignored_layers: Sequence[nn.Module] = (), root_module_types: Sequence[type[nn.Module]] = ()
    ) -> Iterator[tp.Group]:
        """Groups that can be cut; none of them holds a layer that gives the network's outputs."""
        types = tuple(root_module_types) or (nn.modules.conv._ConvNd, nn.Linear)
        for group in super().get_all_groups([*ignored_layers, *self.outputs], types):
            if not self._reaches_barrier(group):
                yield group

    def get_pruning_group(self, module: nn.Module, pruning_fn: Any, idxs: Sequence[int]) -> tp.Group:
        # Before every group torch-pruning maps all concatenations anew, the cube of their number in DenseNet.
        mapping = [node for node in self.module2node.values() if node.type in MAPPED]
        self.module2node.shown = [node for node in mapping if self._mapped.get(node, []) != _sizes(node)]
        try:
            return super().get_pruning_group(module, pruning_fn, idxs)
        finally:
            self._mapped = {node: _sizes(node) for node in mapping if node.type == OPTYPE.CONCAT}
            self.module2node.shown = None

    def _trace(self, *arguments: Any, **options: Any) -> Nodes:
        # Found once: a cut may leave a convolution with one group.
        for module in self.model.modules():
            if is_grouped(module):
                self._own_pruners[module] = self._grouped
            elif isinstance(module, nn.GroupNorm):
                self._own_pruners[module] = self._norms
        nodes = Nodes(super()._trace(*arguments, **options))
        ends = [node for node in nodes.values() if not node.outputs]
        self.outputs = [node.module for node in _last_weights(ends)]
        self.barriers = {node for node in nodes.values() if _is_barrier(node)}
        for node in self.barriers:
            if node.type in MAPPED:
                node.type = OPTYPE.ELEMENTWISE
        return nodes

    def _build_dependency(self, module2node: Nodes) -> None:
        super()._build_dependency(module2node)
        for node in self.barriers:
            node.dependencies.clear()

    def _can_lose_groups(self, node: Node) -> bool:
        layer = node.module
        if not (is_grouped(layer) and can_spare_groups(layer) and node.inputs):
            return False
        sides = (
            (self._grouped.prune_in_channels, layer.in_channels),
            (self._grouped.prune_out_channels, layer.out_channels),
        )
        groups = [self.get_pruning_group(layer, function, list(range(width))) for function, width in sides]
        return not any(self._reaches_barrier(group) or self._reaches_outputs(group) for group in groups)

    def _reaches_barrier(self, group: tp.Group) -> bool:
        return any(dependency.target in self.barriers for dependency, _ in group)

    def _reaches_outputs(self, group: tp.Group) -> bool:
        return any(
            dependency.target.module in self.outputs and self.is_out_channel_pruning_fn(dependency.handler)
            for dependency, _ in group
        )


def channel_graph(network: nn.Module, input_shape: tuple[int, ...]) -> ChannelGraph:
    """The graph of ``network``, which is left in evaluation mode; ``input_shape`` is one input without its batch.

    Layers that only run in training, as auxiliary heads do, are in the graph.

    Raises:
        ModelError: there are such layers, and the network does not run in training mode on this input.
    """
    example = example_input(network, input_shape)
    forward = _in_training if _has_sleepers(network.eval(), example) else None
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph: ChannelGraph = ChannelGraph().build_dependency(network, example, forward_fn=forward, verbose=False)
    return graph


def example_input(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    # Two samples: a BatchNorm in training mode refuses one.
    return torch.zeros(2, *input_shape, device=next(network.parameters()).device)


def _is_barrier(node: Node) -> bool:
    if isinstance(node.module, nn.MultiheadAttention) or (node.type in CHANNELWISE and not node.inputs):
        return True
    if node.type == OPTYPE.DEPTHWISE_CONV and node.module.in_channels != node.module.out_channels:
        return True
    # Without inputs it is a view of a layer's own weights, as in PReLU.
    if node.type == OPTYPE.RESHAPE and node.inputs:
        before, after = node.grad_fn._saved_self_sym_sizes, node.grad_fn._input_metadata[0].shape
        return len(after) > 2 and len(before) != len(after) and tuple(before[:2]) != tuple(after[:2])
    if node.type == OPTYPE.CONCAT:
        # torch-pruning knows only dimension 1, and autograd writes -1 as the number of 64 bits without a sign.
        dimensions, dimension = len(node.grad_fn._input_metadata[0].shape), node.grad_fn._saved_dim
        return dimensions > 2 and dimension in (dimensions - 1, UNSIGNED - 1)
    operation = type(node.grad_fn).__name__.lower()
    return node.type == OPTYPE.ELEMENTWISE and any(product in operation for product in PRODUCTS)


def _sizes(node: Node) -> list[int] | None:
    # A copy: torch-pruning changes the list in place too.
    return list(node.module.concat_sizes or []) if node.type == OPTYPE.CONCAT else None


def _last_weights(ends: Sequence[Node]) -> list[Node]:
    """The layers that give the outputs: the last ones with weights on every way to ``ends``."""
    found, ahead, seen = [], list(ends), set(ends)
    while ahead:
        node = ahead.pop()
        if node.type in WEIGHTED:
            found.append(node)
            continue
        new = [source for source in node.inputs if source not in seen]
        seen.update(new)
        ahead.extend(new)
    return found


def _has_sleepers(network: nn.Module, example: Tensor) -> bool:
    called: set[nn.Module] = set()
    # Attention reads the weights of its own layers and never calls them.
    inside = {part for m in network.modules() if isinstance(m, nn.MultiheadAttention) for part in m.modules()}
    layers = [m for m in network.modules() if isinstance(m, (nn.modules.conv._ConvNd, nn.Linear)) and m not in inside]
    hooks = [layer.register_forward_pre_hook(lambda module, _: called.add(module)) for layer in layers]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return any(layer not in called for layer in layers)


def _in_training(network: nn.Module, example: Tensor) -> Any:
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        return network(example)
    except Exception as error:  # the forward pass is the user's code
        raise ModelError(
            f"{type(network).__name__} has layers that run in training only, and fails there on an input of "
            f"{tuple(example.shape)}: {first_line(error)}; build it without them (aux_logits: false), or for larger "
            "images"
        ) from error
    finally:
        network.eval()
        for name, buffer in network.named_buffers():
            buffer.copy_(statistics[name])
