"""What a runtime itself did with each node of a file, told by names that survive its fusions."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MARK = re.compile(r"edgekd_node_(\d+)(?!\d)")


@dataclass(frozen=True)
class Confirmation:
    """``int8`` tells by the place of a node in the file whether it was computed in int8; what is not in it is unknown.

    ``by`` names the runtime, ``refusal`` is why it does not take the file; without ``by`` nobody was asked, and
    ``reason`` is why.
    """

    by: str | None = None
    reason: str | None = None
    refusal: str | None = None
    int8: dict[int, bool] = field(default_factory=dict)


def marked(model: "ModelProto") -> "ModelProto":
    """A copy in which every node is named by its place."""
    copy: Any = type(model)()
    copy.CopyFrom(model)
    for place, node in enumerate(copy.graph.node):
        node.name = f"edgekd_node_{place}"
    return copy  # type: ignore[no-any-return]


def places(text: str) -> list[int]:
    """The places named in ``text``, a node's name or what a runtime wrote down about it."""
    return [int(found) for found in MARK.findall(text)]


def place_of(node: "NodeProto") -> int | None:
    return next(iter(places(node.name)), None)
