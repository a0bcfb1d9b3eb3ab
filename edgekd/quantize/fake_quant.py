"""Fake-quantisation with an observed, set, or learned range; and the fake-quants and layers of a prepared graph."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import FakeQuantizeBase

from edgekd.runtime import SMALLEST_SCALE

aten = torch.ops.aten

# convolutions of any dimension, and linear layers; the second argument is the weight, the third the bias
WEIGHTED = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.conv_transpose3d.input,
    aten.linear.default,
}
TRANSPOSED = {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
# Where a prepared graph's ``meta`` has the name of its profile.
PROFILE = "edgekd_profile"


class FakeQuantize(FakeQuantizeBase):
    """Rounds to ``quant_min``..``quant_max`` steps of ``scale`` around ``zero_point``, with straight-through gradients.

    Args:
        dtype: torch.int8 or torch.uint8, the type of the codes.
        qscheme: per tensor affine or symmetric, or per channel symmetric along ``ch_axis``.
        averaging: weight of a new batch's range in the moving average; 1 takes the new range, for weights.
        float16_scales: round each scale up to a float16 number.
    """

    scale: Tensor
    zero_point: Tensor
    min_val: Tensor
    max_val: Tensor
    observer_enabled: Tensor
    fake_quant_enabled: Tensor

    def __init__(
        self,
        dtype: torch.dtype,
        quant_min: int,
        quant_max: int,
        qscheme: torch.qscheme,
        ch_axis: int | None = None,
        is_dynamic: bool = False,
        averaging: float = 0.05,
        float16_scales: bool = False,
    ):
        super().__init__()
        self.dtype, self.quant_min, self.quant_max, self.qscheme = dtype, quant_min, quant_max, qscheme
        self.is_per_channel = qscheme in (torch.per_channel_symmetric, torch.per_channel_affine)
        self.symmetric = qscheme in (torch.per_tensor_symmetric, torch.per_channel_symmetric)
        self.ch_axis = (ch_axis or 0) if self.is_per_channel else -1
        self.is_dynamic, self.averaging, self.float16_scales = is_dynamic, averaging, float16_scales
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int32))
        # Infinite until the first batch has been seen.
        self.register_buffer("min_val", torch.full((1,), torch.inf))
        self.register_buffer("max_val", torch.full((1,), -torch.inf))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "FakeQuantize":
        # The switches are read at every call: on a GPU each reading would wait for all of its work.
        switches = self.observer_enabled, self.fake_quant_enabled
        super()._apply(fn, recurse)
        self.observer_enabled, self.fake_quant_enabled = switches
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.observer_enabled[0]:
            self.observe(x.detach())
        return self.quantised(x) if self.fake_quant_enabled[0] else x

    def observe(self, x: Tensor) -> None:
        """Update the moving average of the range with that of ``x``."""
        low, high = self._extremes(x)
        if self.min_val.shape == low.shape:
            # A branch on a value would wait for the GPU.
            seen = torch.isfinite(self.min_val)
            low = torch.where(seen, self.min_val + self.averaging * (low - self.min_val), low)
            high = torch.where(seen, self.max_val + self.averaging * (high - self.max_val), high)
        self.set_range(low, high)

    def _extremes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_per_channel:
            return torch.aminmax(x.transpose(0, self.ch_axis).flatten(1).float(), dim=1)
        low, high = torch.aminmax(x.float())
        return low.reshape(1), high.reshape(1)

    def set_range(self, low: Tensor, high: Tensor) -> None:
        """Set scale and zero point for values from ``low`` to ``high``, both of shape (1,) or (channels,).

        The range is widened to contain 0, which every runtime pads with. An empty range gets the smallest scale.
        """
        with torch.no_grad():
            self.min_val, self.max_val = low.detach().float().clone(), high.detach().float().clone()
            low, high = self.min_val.clamp(max=0), self.max_val.clamp(min=0)
            if self.symmetric:
                # 63.5 steps of the seven bits from -64 to 63
                scale = torch.maximum(-low, high) / ((self.quant_max - self.quant_min) / 2)
            else:
                scale = (high - low) / (self.quant_max - self.quant_min)
            scale = self._storable(scale)
            zero = torch.zeros_like(scale) if self.symmetric else self.quant_min - torch.round(low / scale)
            self._assign(scale, zero.clamp(self.quant_min, self.quant_max).to(torch.int32))

    def _storable(self, scale: Tensor) -> Tensor:
        scale = scale.clamp(min=SMALLEST_SCALE)
        if not self.float16_scales:
            return scale
        half = scale.half()
        # upwards, so that the range is not clipped
        return torch.where(half.float() < scale, torch.nextafter(half, torch.full_like(half, torch.inf)), half).float()

    def _assign(self, scale: Tensor, zero_point: Tensor) -> None:
        if self.scale.shape != scale.shape:
            self.scale.data, self.zero_point = self.scale.data.new_empty(scale.shape), zero_point.clone()
        self.scale.data.copy_(scale)
        self.zero_point.copy_(zero_point)

    def quantised(self, x: Tensor) -> Tensor:
        """Round ``x`` to the grid, as float32."""
        if isinstance(self.scale, nn.Parameter):
            return self._with_learned_scale(x)
        low, high = self.quant_min, self.quant_max
        if self.is_per_channel:
            return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, self.ch_axis, low, high)
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, low, high)

    def _with_learned_scale(self, x: Tensor) -> Tensor:
        # The stored scale is used, and the gradient goes to the parameter straight through the rounding.
        size = self.scale.abs()
        scale = size + (self._storable(size.detach()) - size).detach()
        zero_point, low, high = self.zero_point.to(scale.dtype), self.quant_min, self.quant_max
        # LSQ's g = 1/sqrt(N·Q_P): elements that share the scale
        factor = 1.0 / (x.numel() / scale.numel() * max(high, 1)) ** 0.5
        if self.is_per_channel:
            return torch._fake_quantize_learnable_per_channel_affine(
                x, scale, zero_point, self.ch_axis, low, high, factor
            )
        return torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero_point, low, high, factor)

    def learn_scale(self) -> None:
        """Make the scale a parameter: learned step size quantisation (LSQ; Esser et al. 2020, eq. 3 and section 2.2).

        The observer is disabled: from now on the loss moves the scale.
        """
        self.disable_observer()
        scale = self.scale
        del self._buffers["scale"]
        self.scale = nn.Parameter(scale.clone())

    def freeze_scale(self) -> None:
        """Make the learned scale a buffer again, with the value that was used last."""
        if isinstance(self.scale, nn.Parameter):
            scale = self._storable(self.scale.detach().abs())
            del self._parameters["scale"]
            self.register_buffer("scale", scale)

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Return scale and zero point as they were trained; they are exported to the bit."""
        return self.scale.detach(), self.zero_point

    def extra_repr(self) -> str:
        return f"{self.dtype}, {self.quant_min}..{self.quant_max}, {self.qscheme}, scale={self.scale}"


@dataclass(frozen=True)
class WeightedLayer:
    """A convolution or linear layer of a prepared graph."""

    node: Node
    layer: str
    """Its path in the network, such as ``layer1.0.conv1``."""
    weight_name: str
    bias_name: str | None
    weight_fake_quant: FakeQuantize | None
    input_fake_quant: FakeQuantize | None


def fake_quants(graph: GraphModule) -> dict[str, FakeQuantize]:
    """Return all fake-quants by their names in the graph; tensors that share a range have one."""
    return {name: module for name, module in graph.named_modules() if isinstance(module, FakeQuantize)}


def weighted_layers(graph: GraphModule) -> list[WeightedLayer]:
    """Return the convolutions and linear layers in order of execution, quantised or not."""
    return [_weighted(graph, node) for node in graph.graph.nodes if node.target in WEIGHTED]


def groups_of(node: Node) -> int:
    """Return the number of groups of a convolution, transposed or not; 1 for a linear layer."""
    groups = node.args[6] if len(node.args) > 6 else 1
    assert isinstance(groups, int)
    return groups


def tensor_of(graph: GraphModule, name: str) -> Tensor:
    """Return the parameter or the buffer of ``graph`` with this path."""
    found = attrgetter(name)(graph)
    assert isinstance(found, Tensor)
    return found


def layer_of(node: Node) -> str:
    """Return the path of the module that ``node`` was called in; empty for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack.values()))[0] if stack else ""


def fake_quant_of(graph: GraphModule, node: object) -> FakeQuantize | None:
    """Return the fake-quant that ``node`` calls, or None if it calls none."""
    if isinstance(node, Node) and node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        return module if isinstance(module, FakeQuantize) else None
    return None


def _weighted(graph: GraphModule, node: Node) -> WeightedLayer:
    weight = node.args[1]
    quantiser = fake_quant_of(graph, weight)
    named = weight.args[0] if quantiser and isinstance(weight, Node) else weight
    bias = node.args[2] if len(node.args) > 2 else None
    assert isinstance(named, Node)
    return WeightedLayer(
        node,
        layer_of(node),
        str(named.target),
        str(bias.target) if isinstance(bias, Node) else None,
        quantiser,
        fake_quant_of(graph, node.args[0]),
    )
