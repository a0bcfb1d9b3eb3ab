"""Where a file is to run: the rules that hold there, and who can be asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.lint import onnxruntime, tensorrt
from edgekd.lint.confirm import Confirmation
from edgekd.lint.graph import Graph
from edgekd.lint.onnxruntime.confirm import confirm as ask_onnxruntime
from edgekd.lint.result import Finding
from edgekd.lint.rule import Rulebook
from edgekd.lint.site import Site
from edgekd.lint.tensorrt.confirm import confirm as ask_tensorrt
from edgekd.lint.tensorrt.file import file_findings
from edgekd.registry import Registry

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


@dataclass(frozen=True)
class Target:
    """``rules`` by operator; ``islands`` those of any other operator between two quantisers, if they cost there."""

    name: str
    rules: dict[str, Rulebook]
    confirm: Callable[["ModelProto", "Target"], Confirmation]
    of_file: Callable[[Graph, set[str]], Iterator[Finding]] | None = None
    islands: Rulebook | None = None
    converts_int8: bool = False
    saturates: bool = False
    also_moving: tuple[str, ...] = ()

    def site(self, graph: Graph, node: "NodeProto") -> Site:
        return Site(graph, node, self.converts_int8, self.saturates, self.also_moving)


TARGETS: Registry[Target] = Registry("target of the linter", ModelError)


def _onnxruntime(name: str, *, converts_int8: bool = False, saturates: bool = False) -> Target:
    rules, islands = onnxruntime.RULES, onnxruntime.ISLAND
    return Target(name, rules, ask_onnxruntime, None, islands, converts_int8, saturates)


TARGETS["onnxruntime-x86"] = _onnxruntime("onnxruntime-x86", converts_int8=True, saturates=True)
TARGETS["onnxruntime-x86-vnni"] = _onnxruntime("onnxruntime-x86-vnni", converts_int8=True)
TARGETS["onnxruntime-arm"] = _onnxruntime("onnxruntime-arm")
TARGETS["tensorrt"] = Target("tensorrt", tensorrt.RULES, ask_tensorrt, of_file=file_findings, also_moving=("Flatten",))
