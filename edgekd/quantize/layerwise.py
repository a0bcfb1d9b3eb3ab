"""A forward pass of all batches, layer by layer, in which a layer can be changed before it is computed."""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Interpreter, Node

from edgekd.machine_lock import give_way
from edgekd.tasks.tensors import Inputs, arguments_of


class LayerwiseForward:
    """Runs a graph layer by layer, and computes each activation of each batch once.

    Weights are read when a layer is passed; until then changes to them take effect. Memory is that of the activations
    alive at one layer, for all samples.

    >>> forward = LayerwiseForward(graph, batches)  # doctest: +SKIP
    >>> for layer in weighted_layers(graph):  # doctest: +SKIP
    ...     inputs = list(forward.inputs(layer.node.name))
    """

    def __init__(self, graph: GraphModule, batches: Sequence[Inputs]):
        inputs = inputs_of(graph.graph)
        reached = dependents(inputs)
        self._activations = set(reached)
        self._ahead = deque(node for node in reached if node not in inputs)
        self._runs = [Interpreter(graph) for _ in batches]
        for run, batch in zip(self._runs, batches, strict=True):
            run.env.update(zip(inputs, arguments_of(batch), strict=True))

    def inputs(self, name: str) -> Iterator[Tensor]:
        """Yield the inputs of the convolution or linear layer at the node ``name``, batch by batch.

        Copies of a graph have the same names. A layer that was passed cannot be read again.
        """
        [read, *_] = self._reach(name).all_input_nodes
        for run in self._runs:
            yield run.env[read]

    def outputs(self, name: str, keep: bool = False) -> Iterator[Tensor]:
        """Yield the outputs of the layer, batch by batch; an in-place ReLU overwrites them later.

        Args:
            keep: the layer is final, and need not be computed again when it is passed.
        """
        node = self._reach(name)
        for run in self._runs:
            value = run.env[node] if node in run.env else self._value(run, node)
            if keep:
                run.env[node] = value
            yield value

    @torch.no_grad()
    def _reach(self, name: str) -> Node:
        while self._ahead[0].name != name:
            node = self._ahead.popleft()
            for run in self._runs:
                if node not in run.env:
                    run.env[node] = self._value(run, node)
                for dead in run.user_to_last_uses.get(node, []):
                    run.env.pop(dead, None)
        return self._ahead[0]

    @torch.no_grad()
    def _value(self, run: Interpreter, node: Node) -> Tensor:
        give_way()
        constants = self._constants(node)
        for constant in constants:
            run.env[constant] = run.run_node(constant)
        value = run.run_node(node)
        for constant in constants:
            del run.env[constant]
        return value

    def _constants(self, node: Node) -> list[Node]:
        """Return the nodes that ``node`` reads and that do not depend on the input, in order of execution."""
        found: dict[Node, None] = {}
        for read in node.all_input_nodes:
            if read not in self._activations:
                found.update(dict.fromkeys([*self._constants(read), read]))
        return list(found)


def inputs_of(graph: Graph) -> list[Node]:
    """Return the nodes of the network's inputs, in their order."""
    return list(graph.find_nodes(op="placeholder"))


def dependents(sources: Sequence[Node]) -> list[Node]:
    """Return ``sources`` and all nodes that depend on them, in order of execution."""
    found, nodes = set(sources), sources[0].graph.nodes
    for node in nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return [node for node in nodes if node in found]
