"""edgekd's quantizer for PT2E."""

from collections.abc import Collection

from torch.fx import GraphModule
from torchao.quantization.pt2e.quantizer import Quantizer

from edgekd.export.profile import PROFILES
from edgekd.quantize.placement import Placement


class RuntimeQuantizer(Quantizer):
    """Places fake-quantisation where the runtime of ``profile`` computes in int8, except in the layers ``keep_float``.

    >>> prepare_pt2e(graph, RuntimeQuantizer("onnxruntime-x86"))  # doctest: +SKIP
    """

    def __init__(self, profile: str, keep_float: Collection[str] = ()):
        super().__init__()
        self.placement = Placement(PROFILES.find(profile), keep_float)

    def annotate(self, model: GraphModule) -> GraphModule:
        self.placement.annotate(model.graph)
        return model

    def validate(self, model: GraphModule) -> None: ...
