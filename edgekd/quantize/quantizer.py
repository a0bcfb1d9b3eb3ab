"""edgekd's quantizer for PT2E."""

from torch.fx import GraphModule
from torchao.quantization.pt2e.quantizer import Quantizer

from edgekd.quantize.placement import annotate
from edgekd.quantize.profile import PROFILES


class RuntimeQuantizer(Quantizer):
    """Places fake-quantisation where the runtime of ``profile`` computes in int8.

    >>> prepare_pt2e(graph, RuntimeQuantizer("onnxruntime-x86"))  # doctest: +SKIP
    """

    def __init__(self, profile: str):
        super().__init__()
        self.profile = PROFILES.find(profile)

    def annotate(self, model: GraphModule) -> GraphModule:
        annotate(model.graph, self.profile.activation(), self.profile.weight())
        return model

    def validate(self, model: GraphModule) -> None: ...
