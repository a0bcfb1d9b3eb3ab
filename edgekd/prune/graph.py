"""The dependency graph of a network: torch-pruning's, with barriers where it would follow channels wrongly.

torch-pruning (Fang et al., "DepGraph", 2023) takes an operation that it does not know for one that leaves channels
where they are. Here such an operation is a barrier: what reaches one keeps its width. Barriers are reshapes that
split or mix channels (channel shuffle, windows, attention heads), concatenations of a last dimension, products of
two activations, ``nn.MultiheadAttention``, whose heads must all have one width that the layers around it share, layers
that take the network's inputs channel by channel, and convolutions with several inputs for each filter.

Grouped convolutions lose whole groups where they have enough of them: then their inputs go with their outputs.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch_pruning.dependency import Node
from torch_pruning.dependency.shape_infer import init_shape_information
from torch_pruning.ops import OPTYPE

from edgekd.errors import ModelError, first_line
from edgekd.models.inputs import must_take
from edgekd.prune.barriers import (
    OutputWidths,
    barrier_reason,
    is_countable,
    keeps_channels,
    separate,
    tied_weights,
)
from edgekd.prune.coupling import coupled_channels
from edgekd.prune.grouped import (
    GroupedConvPruner,
    GroupNormPruner,
    can_spare_groups,
    couple_sides,
    decouple_sides,
    is_grouped,
)
from edgekd.prune.operations import DistinctGroup, ResizePruner, map_channels, resize_of
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import shapes_of

WEIGHTED = (OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR)
MAPPED = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.RESHAPE, OPTYPE.UNBIND, OPTYPE.EXPAND, OPTYPE.SLICE)


class Nodes(dict[Any, Node]):
    """Nodes by module; ``items`` gives only ``shown`` while torch-pruning maps indices."""

    shown: Sequence[Node] | None = None

    def items(self) -> Any:
        return super().items() if self.shown is None else [(node.module, node) for node in self.shown]


class ChannelGraph(tp.DependencyGraph):  # type: ignore[misc]
    """Dependencies between the channels of layers; :func:`channel_graph` makes one.

    Attributes:
        barriers: nodes that channels cannot be followed through, with the reason.
        barred: after :meth:`get_all_groups` the roots of groups that meet a barrier, each with the other layers of its
            group and the reason.
        outputs: the layers that give the network's outputs.
        pixels: of the smallest map that each GroupNorm is called with, for one sample.
    """

    module2node: Nodes

    def __init__(self) -> None:
        super().__init__()
        self.barriers: dict[Node, str] = {}
        self.barred: dict[nn.Module, tuple[list[nn.Module], str]] = {}
        self.outputs: list[nn.Module] = []
        self.pixels: dict[nn.Module, int] = {}
        self._mapped: dict[Node, list[int] | None] = {}
        self._grouped, self._norms = GroupedConvPruner(), GroupNormPruner()
        self._own_pruners: dict[nn.Module, tp.BasePruningFunc] = {}
        self._resizes = ResizePruner()
        own = (self._grouped, self._norms, self._resizes)
        self._in_channel_pruning_fn |= {pruner.prune_in_channels for pruner in own}
        self._out_channel_pruning_fn |= {pruner.prune_out_channels for pruner in own}

    def build_dependency(self, *arguments: Any, **options: Any) -> "ChannelGraph":
        super().build_dependency(*arguments, **options)
        # All are checked before any is coupled: one that cannot lose groups does not hold back its neighbours.
        nodes = [node for node in self.module2node.values() if self._can_lose_groups(node)]
        for node in nodes:
            couple_sides(node, self._grouped)
        for group in list(self.get_all_groups()) if nodes else ():
            if coupled_channels(group).scores == 1:
                for dependency, _ in group:
                    decouple_sides(dependency.target)
        return self

    def get_pruner_of_module(self, module: nn.Module) -> Any:
        return self._own_pruners.get(module) or super().get_pruner_of_module(module)

    def get_all_groups(
        self, ignored_layers: Sequence[nn.Module] = (), root_module_types: Sequence[type[nn.Module]] = ()
    ) -> Iterator[tp.Group]:
        """Yield the groups that can be cut, without those of the network's outputs; fill ``barred`` with the others."""
        self.barred.clear()
        types = tuple(root_module_types) or (nn.modules.conv._ConvNd, nn.Linear)
        kept, visited = {*ignored_layers, *self.outputs}, set()
        for root in list(self.module2node):
            if root in kept or root in visited or not isinstance(root, types):
                continue
            pruner = self.get_pruner_of_module(root)
            try:
                group = self.get_pruning_group(root, pruner.prune_out_channels, range(pruner.get_out_channels(root)))
            except Exception as error:  # torch-pruning meets what it does not know
                self.barred[root] = [], f"an operation that cannot be followed ({first_line(error)})"
                continue
            writers = {each.target.module for each, _ in group if self.is_out_channel_pruning_fn(each.handler)}
            visited |= writers
            barrier = self._barrier_of(group)
            if writers & kept:
                continue
            if barrier is None:
                yield group
            else:
                others = [layer for layer in self.layers_that_write(group) if layer is not root]
                self.barred[root] = others, self.barriers[barrier]

    def layers_that_write(self, group: tp.Group) -> list[nn.Module]:
        """Return the convolutions and linear layers whose outputs are channels of ``group``."""
        found = [each.target.module for each, _ in group if self.is_out_channel_pruning_fn(each.handler)]
        return [layer for layer in found if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear))]

    def must_fit(self, group: tp.Group) -> None:
        """Refuse a group with channels that its layers do not have.

        Raises:
            ModelError: a layer is narrower than the group's channel indices.
        """
        for dependency, channels in group:
            node = dependency.target
            writes = self.is_out_channel_pruning_fn(dependency.handler)
            width = self.get_out_channels(node) if writes else self.get_in_channels(node)
            if width is not None and not all(0 <= channel < width for channel in channels):
                raise ModelError(f"others reach {self._module2name.get(node.module) or node.name} than its {width}")

    def get_pruning_group(self, module: nn.Module, pruning_fn: Any, idxs: Sequence[int]) -> tp.Group:
        # Before every group torch-pruning maps all concatenations anew, the cube of their number in DenseNet.
        mapping = [node for node in self.module2node.values() if node.type in MAPPED]
        self.module2node.shown = [node for node in mapping if self._mapped.get(node, []) != _sizes(node)]
        try:
            return DistinctGroup.of(super().get_pruning_group(module, pruning_fn, idxs))
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
        given: list[Tensor] = []

        def note(outputs: Any) -> Any:
            given.extend(leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor))
            return outputs

        with self._counting_pixels():
            nodes = Nodes(super()._trace(*arguments, **{**options, "output_transform": note}))
        for node in nodes.values():
            resize = resize_of(node)
            if resize is not None:
                self._resizes.known[node.module] = resize
                self._own_pruners[node.module] = self._resizes
        # An output may be read by other layers too.
        made = {output.grad_fn for output in given}
        ends = [node for node in nodes.values() if not node.outputs or node.grad_fn in made]
        self.outputs = [node.module for node in _last_weights(ends)]
        shared = tied_weights(self.model)
        reasons = (
            (node, "weights that two layers share" if node.module in shared else barrier_reason(node))
            for node in nodes.values()
        )
        self.barriers = {node: reason for node, reason in reasons if reason}
        for node in nodes.values():
            if node.type in MAPPED and (node in self.barriers or keeps_channels(node)):
                node.type = OPTYPE.ELEMENTWISE
        return nodes

    @contextmanager
    def _counting_pixels(self) -> Iterator[None]:
        def count(norm: nn.Module, _: Any, output: Tensor) -> None:
            pixels = math.prod(output.shape[2:])
            self.pixels[norm] = min(pixels, self.pixels.get(norm, pixels))

        norms = [module for module in self.model.modules() if isinstance(module, nn.GroupNorm)]
        hooks = [norm.register_forward_hook(count) for norm in norms]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _build_dependency(self, module2node: Nodes) -> None:
        super()._build_dependency(module2node)
        for resize in self._resizes.known.values():
            map_channels(resize)
        init_shape_information(self)
        for node in module2node.values():
            if node.type == OPTYPE.CONCAT and not is_countable(self, node):
                node.type = OPTYPE.ELEMENTWISE
                self.barriers[node] = "a concatenation of what cannot be counted"
        for node in self.barriers:
            node.dependencies.clear()
        widths = OutputWidths(self)
        edges = [(source, node) for node in module2node.values() for source in node.inputs]
        for source, target in edges:
            if widths.is_broadcast(source, target):
                separate(source, target)

    def _can_lose_groups(self, node: Node) -> bool:
        layer = node.module
        if not (is_grouped(layer) and can_spare_groups(layer) and node.inputs):
            return False
        sides = (
            (self._grouped.prune_in_channels, layer.in_channels),
            (self._grouped.prune_out_channels, layer.out_channels),
        )
        groups = [self.get_pruning_group(layer, function, list(range(width))) for function, width in sides]
        return not any(self._barrier_of(group) or self._reaches_outputs(group) for group in groups)

    def _barrier_of(self, group: tp.Group) -> Node | None:
        return next((dependency.target for dependency, _ in group if dependency.target in self.barriers), None)

    def _reaches_outputs(self, group: tp.Group) -> bool:
        return any(
            dependency.target.module in self.outputs and self.is_out_channel_pruning_fn(dependency.handler)
            for dependency, _ in group
        )


def channel_graph(network: nn.Module, input_shape: Shape | Signature) -> ChannelGraph:
    """Trace the dependency graph of ``network``, which is left in evaluation mode.

    Layers that only run in training, such as auxiliary heads, are in the graph.

    Args:
        input_shape: shape of one input, without the batch; or a signature.

    Raises:
        ModelError: the network does not run on this input, its operations cannot be traced, or it has layers that
            only run in training, and does not run in training mode on this input.
    """
    example = example_inputs(network, input_shape)
    # Left to itself torch-pruning first tries the samples as so many arguments.
    with must_take(network, example):
        forward = _in_training if _has_training_layers(network.eval(), example) else _call
    with torch.enable_grad(), _all_traced(network), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph: ChannelGraph = ChannelGraph().build_dependency(network, example, forward_fn=forward, verbose=False)
        except ModelError:
            raise
        except Exception as error:  # torch-pruning meets what it does not know
            raise ModelError(
                f"the channels of {type(network).__name__} cannot be followed from layer to layer "
                f"({type(error).__name__}: {first_line(error)}): leave the prune stage out, or drop blocks (depth)"
            ) from error
    return graph


def example_inputs(network: nn.Module, input_shape: Shape | Signature, batch: int = 2) -> tuple[Tensor, ...]:
    """Make zeros, or values near to them, as the network's inputs on its device."""
    # Two samples: a BatchNorm in training mode refuses one.
    return Signature.of(input_shape).example(batch, like=next(network.parameters(), None))


@contextmanager
def _all_traced(network: nn.Module) -> Iterator[None]:
    # Tracing follows autograd, which does not see what is frozen.
    frozen = [each for each in network.parameters() if each.is_floating_point() and not each.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _call(network: nn.Module, example: Sequence[Tensor]) -> Any:
    return network(*example)


def _sizes(node: Node) -> list[int] | None:
    # A copy: torch-pruning changes the list in place too.
    return list(node.module.concat_sizes or []) if node.type == OPTYPE.CONCAT else None


def _last_weights(ends: Sequence[Node]) -> list[Node]:
    """Return the layers that give the outputs: the last ones with weights on every path to ``ends``."""
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


def _has_training_layers(network: nn.Module, example: Sequence[Tensor]) -> bool:
    called: set[nn.Module] = set()
    # Attention reads the weights of its own layers and never calls them.
    inside = {part for m in network.modules() if isinstance(m, nn.MultiheadAttention) for part in m.modules()}
    layers = [m for m in network.modules() if isinstance(m, (nn.modules.conv._ConvNd, nn.Linear)) and m not in inside]
    hooks = [layer.register_forward_pre_hook(lambda module, _: called.add(module)) for layer in layers]
    try:
        with torch.no_grad():
            network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return any(layer not in called for layer in layers)


def _in_training(network: nn.Module, example: Sequence[Tensor]) -> Any:
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        return network(*example)
    except Exception as error:  # the forward pass is the user's code
        raise ModelError(
            f"{type(network).__name__} has layers that run in training only, and fails there on an input of "
            f"{shapes_of(example)}: {first_line(error)}; build it without them (aux_logits: false), or for larger "
            "images"
        ) from error
    finally:
        network.eval()
        for name, buffer in network.named_buffers():
            buffer.copy_(statistics[name])
