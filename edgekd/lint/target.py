"""The targets of the linter: the rules that hold there, and the runtime that can confirm them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.lint.confirm import Confirmation
from edgekd.lint.graph import LintGraph
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintFinding
from edgekd.lint.rule import Rulebook
from edgekd.registry import Registry
from edgekd.runtime import RUNTIMES, Runtime

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


def _target(runtime: Runtime, profile: str) -> LintTarget:
    found: LintTarget = runtime.part("rules").TARGETS[profile]
    return found


for _runtime in RUNTIMES.values():
    for _profile in _runtime.profiles:
        TARGETS.late(_profile.name)(partial(_target, _runtime, _profile.name))
