"""The targets of the linter: the rules that hold there, and the runtime that can confirm them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.lint import onnxruntime, tensorrt
from edgekd.lint.confirm import Confirmation
from edgekd.lint.graph import LintGraph
from edgekd.lint.layer import LayerContext
from edgekd.lint.onnxruntime.confirm import confirm as ask_onnxruntime
from edgekd.lint.result import LintFinding
from edgekd.lint.rule import Rulebook
from edgekd.lint.tensorrt.confirm import confirm as ask_tensorrt
from edgekd.lint.tensorrt.parameters import file_findings
from edgekd.registry import Registry

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


@dataclass(frozen=True)
class LintTarget:
    """A runtime on a processor: ``rules`` by operator, ``islands`` for any other operator between two quantisers."""

    name: str
    rules: dict[str, Rulebook]
    confirm: Callable[["ModelProto", "LintTarget"], Confirmation]
    of_file: Callable[[LintGraph, set[str]], Iterator[LintFinding]] | None = None
    islands: Rulebook | None = None
    converts_int8: bool = False
    saturates: bool = False
    also_moving: tuple[str, ...] = ()

    def layer(self, graph: LintGraph, node: "NodeProto") -> LayerContext:
        return LayerContext(graph, node, self.converts_int8, self.saturates, self.also_moving)


TARGETS: Registry[LintTarget] = Registry("target of the linter", ModelError)


def _onnxruntime(name: str, *, converts_int8: bool = False, saturates: bool = False) -> LintTarget:
    rules, islands = onnxruntime.RULES, onnxruntime.ISLAND
    return LintTarget(name, rules, ask_onnxruntime, None, islands, converts_int8, saturates)


TARGETS["onnxruntime-x86"] = _onnxruntime("onnxruntime-x86", converts_int8=True, saturates=True)
TARGETS["onnxruntime-x86-vnni"] = _onnxruntime("onnxruntime-x86-vnni", converts_int8=True)
TARGETS["onnxruntime-arm"] = _onnxruntime("onnxruntime-arm")
TARGETS["tensorrt"] = LintTarget(
    "tensorrt", tensorrt.RULES, ask_tensorrt, of_file=file_findings, also_moving=("Flatten",)
)
