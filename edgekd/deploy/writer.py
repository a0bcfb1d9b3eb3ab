"""The part of writing a file that only one runtime needs."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan, make_plan
from edgekd.deploy.qdq import QdqPair, QuantizedWeight
from edgekd.profiles import runtime_of
from edgekd.runtime import Profile


@dataclass(frozen=True)
class Built:
    """The file that a runtime builds of an ONNX file, or the ``reason`` why it could not; empty if it builds none."""

    path: Path | None = None
    reason: str | None = None


class Writer:
    """A runtime's writer; this one is for runtimes that take the file as every profile has it written.

    ``bypasses``: float operators read the activation before a Q/DQ pair. ``shares_constants``: equal scales and zero
    points are stored once.
    """

    bypasses = True
    shares_constants = True

    def plan(
        self,
        graph: ir.Graph,
        pairs: Collection[QdqPair],
        weights: Collection[QuantizedWeight],
        profile: Profile,
        keep_float: Collection[str],
    ) -> QdqPlan:
        """Decide which nodes compute in int8, by :func:`edgekd.deploy.plan.make_plan`."""
        return make_plan(graph, pairs, weights, profile, keep_float)

    def rewrite(self, graph: ir.Graph, plan: QdqPlan, profile: Profile) -> Collection[ir.Node]:
        """Rewrite ``graph`` in place and return the QuantizeLinear nodes that were added.

        Its kept Q/DQ pairs have their zero points, and its weights are stored.
        """
        return ()

    def build(self, path: Path, folder: Path, capability: str | None) -> Built:
        """Build what the runtime loads from the ONNX file ``path`` into ``folder``, if it does not load that itself.

        Raises:
            ExportError: there is none for the GPU of the ``capability`` that was asked for.
        """
        return Built()


def writer_of(profile: str) -> Writer:
    """Return the writer of the runtime of ``profile``."""
    runtime = runtime_of(profile)
    writer: Writer = runtime.part("writer").WRITER if runtime and runtime.has("writer") else Writer()
    return writer
