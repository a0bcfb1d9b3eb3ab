"""Files for ONNX Runtime: gates and poolings become operators with int8 kernels, and what must fuse does."""

from collections.abc import Collection

import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.writer import Writer
from edgekd.runtime import Profile
from edgekd.runtimes.onnxruntime.clip_folding import fold_clips
from edgekd.runtimes.onnxruntime.fusions import add_fusion_barriers, encode_bias
from edgekd.runtimes.onnxruntime.int8_rewrites import Int8Rewriter
from edgekd.runtimes.onnxruntime.padding import pad_codes


class OnnxRuntimeWriter(Writer):
    """The writer of ONNX Runtime."""

    def rewrite(self, graph: ir.Graph, plan: QdqPlan, profile: Profile) -> Collection[ir.Node]:
        """Rewrite what has a faster form in ONNX Runtime, clamp codes, and bias fusions towards the plan."""
        added = Int8Rewriter(graph, plan.kept, profile).rewrite(plan.int8)
        fold_clips(graph, plan)
        pad_codes(graph, plan)
        add_fusion_barriers(graph)
        for layer in [node for node in graph if node in plan.int8]:
            encode_bias(graph, layer)
        return added


WRITER = OnnxRuntimeWriter()
