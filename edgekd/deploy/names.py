"""Names of a graph's inputs and outputs, which no other value of the graph may have."""

from collections.abc import Sequence
from itertools import count

import onnx_ir as ir


def name_values(graph: ir.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name the inputs and outputs of ``graph``, in place; another value that has one of these names gets a new one.

    An output that is an input as well, or that is given twice, gets a node of its own.
    """
    for index, value in enumerate(graph.outputs):
        if value in graph.inputs or value in graph.outputs[:index]:
            graph.append(same := ir.node("Identity", [value]))
            same.outputs[0].type, same.outputs[0].shape = value.type, value.shape
            graph.outputs[index] = same.outputs[0]
    wanted = dict(zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True))
    if all(value.name == name for value, name in wanted.items()):
        return
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    names = set(wanted.values())
    taken = names | {str(value.name) for value in values}
    for value in values:
        if value.name in names:
            # Two outputs may change their names, so all give up theirs first.
            value.name = next(name for n in count(1) if (name := f"{value.name}_{n}") not in taken)
            taken.add(value.name)
    for value, name in wanted.items():
        value.name = name
