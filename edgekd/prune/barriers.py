"""Barriers: operations that channels cannot be followed through, recognised by what autograd has recorded of them."""

import torch_pruning as tp
from torch import nn
from torch_pruning.dependency import Node
from torch_pruning.dependency.constants import MAX_VALID_DIM
from torch_pruning.dependency.shape_infer import infer_channels_between, infer_in_channels_recursively
from torch_pruning.ops import OPTYPE

PRODUCTS = ("bmm", "scaleddotproduct")
BINARY = ("Mul", "Add", "Sub", "Div", "Maximum", "Minimum", "Where")
UNSIGNED = 2**64
CHANNELWISE = (OPTYPE.DEPTHWISE_CONV, OPTYPE.BN, OPTYPE.IN, OPTYPE.GN, OPTYPE.LN, OPTYPE.PRELU)


def barrier_reason(node: Node) -> str | None:
    """Describe the operation of ``node`` if it is a barrier; return None otherwise."""
    operation = type(node.grad_fn).__name__
    if isinstance(node.module, nn.MultiheadAttention):
        return "multi-head attention"
    if node.type in CHANNELWISE and not node.inputs:
        return "a layer that takes the network's inputs channel by channel"
    if node.type == OPTYPE.DEPTHWISE_CONV and node.module.in_channels != node.module.out_channels:
        return "a convolution with several inputs for each filter"
    # Without inputs it is a view of a layer's own weights, as in PReLU.
    if node.type == OPTYPE.RESHAPE and node.inputs:
        before, after = _reshaped(node)
        if len(after) > 2 and len(before) != len(after) and before[:2] != after[:2]:
            return "a reshape that splits or mixes channels"
    if node.type == OPTYPE.CONCAT:
        # torch-pruning knows only dimension 1, and autograd writes -1 as the number of 64 bits without a sign.
        dimensions, dimension = len(node.grad_fn._input_metadata[0].shape), node.grad_fn._saved_dim
        if dimensions > 2 and dimension in (dimensions - 1, UNSIGNED - 1):
            return "a concatenation of the last dimension"
    if node.type == OPTYPE.ELEMENTWISE and any(product in operation.lower() for product in PRODUCTS):
        return "a product of two activations"
    return None


def _reshaped(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(node.grad_fn._saved_self_sym_sizes), tuple(node.grad_fn._input_metadata[0].shape)


def keeps_channels(node: Node) -> bool:
    """Tell whether ``node`` reshapes only the dimensions behind the channels."""
    # torch-pruning takes some of these for the flattening of an image.
    if node.type != OPTYPE.RESHAPE or not node.inputs:
        return False
    before, after = _reshaped(node)
    return len(before) > 1 and len(after) > 2 and before[:2] == after[:2]


def tied_weights(network: nn.Module) -> set[nn.Module]:
    """Return the modules that share a parameter with another."""
    owners: dict[nn.Parameter, set[nn.Module]] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, set()).add(module)
    return set().union(*(modules for modules in owners.values() if len(modules) > 1))


class OutputWidths:
    """The number of channels that each node gives before any cut."""

    def __init__(self, graph: tp.DependencyGraph):
        self.graph = graph
        self.known: dict[Node, int | None] = {}

    def __getitem__(self, node: Node) -> int | None:
        if node not in self.known:
            self.known[node] = None
            self.known[node] = self._find(node)
        return self.known[node]

    def is_broadcast(self, source: Node, node: Node) -> bool:
        """Tell whether ``source`` is one channel that ``node`` combines with each of many."""
        if node.type != OPTYPE.ELEMENTWISE or not type(node.grad_fn).__name__.startswith(BINARY):
            return False
        return self[source] == 1 and any((self[each] or 0) > 1 for each in node.inputs)

    def _find(self, node: Node) -> int | None:
        own: int | None = self.graph.get_out_channels(node)
        if own is not None or node.type not in (OPTYPE.ELEMENTWISE, OPTYPE.CONCAT):
            return own
        found = [self[each] for each in node.inputs]
        known = [width for width in found if width is not None]
        if node.type == OPTYPE.CONCAT:
            return sum(known) if len(known) == len(found) else None
        return max(known, default=None)


def separate(first: Node, second: Node) -> None:
    """Remove the dependencies between two nodes."""
    for one, other in ((first, second), (second, first)):
        one.dependencies = [each for each in one.dependencies if each.target is not other]


def is_countable(graph: tp.DependencyGraph, node: Node) -> bool:
    """Tell whether torch-pruning can size the parts of the concatenation ``node``; where it cannot, it would raise."""
    if node.grad_fn._saved_dim != 1 and node.grad_fn._saved_dim < MAX_VALID_DIM:
        return True
    sizes = [infer_channels_between(graph, each, node) for each in node.inputs]
    return None not in sizes or infer_in_channels_recursively(graph, node, [0]) is None
