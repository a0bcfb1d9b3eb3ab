"""What a runtime did with each node of a file, read from node names that survive its fusions."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MARK = re.compile(r"edgekd_node_(\d+)(?!\d)")


@dataclass(frozen=True)
class Confirmation:
    """A runtime's own statement: ``int8`` maps the index of a node in the file to whether it computed in int8.

    Nodes that are not in it are unknown. ``by`` names the runtime, ``refusal`` is why it does not take the file.
    Without ``by`` no runtime was consulted, and ``reason`` is why.
    """

    by: str | None = None
    reason: str | None = None
    refusal: str | None = None
    int8: dict[int, bool] = field(default_factory=dict)


def with_marked_nodes(model: "ModelProto") -> "ModelProto":
    """Return a copy in which every node is named by its index."""
    copy: Any = type(model)()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        node.name = f"edgekd_node_{index}"
    return copy  # type: ignore[no-any-return]


def node_indices(text: str) -> list[int]:
    """Return the indices in ``text``, a node's name or a runtime's description of it."""
    return [int(found) for found in MARK.findall(text)]


def node_index(node: "NodeProto") -> int | None:
    return next(iter(node_indices(node.name)), None)
