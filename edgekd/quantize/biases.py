"""Rounding of biases to the grid on which integer kernels add them."""

from collections import Counter

import torch
from torch.fx import GraphModule

from edgekd.quantize.fake_quant import FakeQuantize, weighted_layers

INT32 = 2**31 - 1


@torch.no_grad()
def round_biases(graph: GraphModule) -> list[str]:
    """Round each bias of an 8-bit layer to multiples of its input's scale times its weight's, in place.

    Integer kernels add the bias to the sum of the products, as int32 (Jacob et al., "Quantization and Training of
    Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.4). A bias that is not on that
    grid is rounded by the runtime, and its outputs differ from the graph's. Call this when the scales are final.

    Returns:
        The layers whose biases are rounded. Others have none, share it, compute it, or do not compute in 8 bits.
    """
    layers = weighted_layers(graph)
    uses = Counter(layer.bias_name for layer in layers)
    own = {name for name, _ in graph.named_parameters() if uses[name] == 1}
    rounded = []
    for layer in layers:
        given, weight = layer.input_fake_quant, layer.weight_fake_quant
        if layer.bias_name not in own or not (_is_on(given) and _is_on(weight)):
            continue
        assert layer.bias_name is not None and given is not None and weight is not None
        bias = graph.get_parameter(layer.bias_name)
        step = given.scale.double() * weight.scale.double()
        bias.copy_((bias / step).round().clamp(-INT32, INT32) * step)
        rounded.append(layer.layer)
    return rounded


def _is_on(module: FakeQuantize | None) -> bool:
    return module is not None and bool(module.fake_quant_enabled[0])
