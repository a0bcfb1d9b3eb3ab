"""Biases in the steps that integer kernels add them in."""

from collections import Counter

import torch
from torch.fx import GraphModule

from edgekd.quantize.fake_quant import FakeQuantize, weighted

INT32 = 2**31 - 1


@torch.no_grad()
def settle_biases(graph: GraphModule) -> list[str]:
    """Rounds each bias of an 8-bit layer to multiples of its input's scale times its weight's, in place.

    Integer kernels add the bias to the sum of the products, as int32 (Jacob et al., "Quantization and Training of
    Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.4). A bias that is not on that
    grid is rounded by the runtime, and answers differ from the graph's: call this once the scales stay as they are.

    Returns:
        The layers whose biases are settled. Others have none, share it, or do not compute in 8 bits.
    """
    layers = weighted(graph)
    uses = Counter(layer.bias_name for layer in layers)
    settled = []
    for layer in layers:
        given, weight = layer.input_fake_quant, layer.weight_fake_quant
        if layer.bias_name is None or uses[layer.bias_name] > 1 or not (_is_on(given) and _is_on(weight)):
            continue
        assert given is not None and weight is not None
        bias = graph.get_parameter(layer.bias_name)
        step = given.scale.double() * weight.scale.double()
        bias.copy_((bias / step).round().clamp(-INT32, INT32) * step)
        settled.append(layer.layer)
    return settled


def _is_on(place: FakeQuantize | None) -> bool:
    return place is not None and bool(place.fake_quant_enabled[0])
