"""A layer profile under the roofline: each layer's limit, what sets it, and how much time could be won."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.profile.roofs import Roofs

NOT_COUNTED = "not counted"
# Products whose arithmetic no profiler reports.
UNCOUNTED = {"Attention", "MultiHeadAttention", "QAttention", "LSTM", "GRU", "RNN", "Einsum", "DeformConv"}
CONVERTING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Transpose"}


@dataclass(frozen=True)
class LayerLimit:
    """A layer's time beside ``limit_ms``, the least that the roofs allow.

    ``bound`` says which roof sets the limit. A step that computes and moves nothing, such as a reshape, has no limit:
    all of its time is ``overhead``. One whose arithmetic is ``not counted`` is taken to be at its limit.
    """

    layer: LayerTime
    limit_ms: float
    bound: str

    @property
    def share(self) -> float:
        """Return the limit's share of the time."""
        return self.limit_ms / self.layer.ms if self.layer.ms else 0.0

    @property
    def winnable_ms(self) -> float:
        """Return the time above the limit, 0 for a layer that is measured a little faster than its roof."""
        return max(0.0, self.layer.ms - self.limit_ms)

    def to_json(self) -> dict[str, Any]:
        own = {"limit_ms": self.limit_ms, "bound": self.bound, "share": self.share, "winnable_ms": self.winnable_ms}
        return {**asdict(self.layer), **own}


def layer_limits(profile: LayerProfile, roofs: Roofs) -> list[LayerLimit]:
    """Return each layer with its limit, in the order of the profile."""
    weights = sum(layer.weight_bytes for layer in profile.layers)
    return [layer_limit(layer, roofs, weights) for layer in profile.layers]


def layer_limit(layer: LayerTime, roofs: Roofs, all_weights: int) -> LayerLimit:
    if layer.op in UNCOUNTED or ("Conv" in layer.op and not layer.macs):
        return LayerLimit(layer, layer.ms, NOT_COUNTED)
    if not layer.macs and not layer.bytes:
        return LayerLimit(layer, 0.0, "overhead")
    limit = roofs.limit_ms(layer.macs, layer.bytes, layer.precision, layer.weight_bytes, all_weights)
    return LayerLimit(layer, *limit)


def most_to_win_first(limits: list[LayerLimit]) -> list[LayerLimit]:
    """Sort by the time that could be won, most first."""
    return sorted(limits, key=lambda each: each.winnable_ms, reverse=True)


def kind(layer: LayerTime) -> str:
    """Return what the time goes into: products by precision, ``conversion`` of type or layout, or ``other``."""
    if layer.op in CONVERTING or layer.op.startswith("Reorder"):
        return "conversion"
    return layer.precision if layer.macs else "other"


@dataclass(frozen=True)
class RooflineSummary:
    """Where the time of a network goes, and how far it is from the sum of its layers' limits.

    ``share`` is that of the inference without the profiler, ``share_of_layers`` that of the profiled layers.
    """

    total_ms: float
    unprofiled_ms: float | None
    busy: float
    layers_ms: float
    limit_ms: float
    share: float
    share_of_layers: float
    macs: int
    ms_by_kind: dict[str, float]
    ms_by_bound: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summary(profile: LayerProfile, limits: list[LayerLimit]) -> RooflineSummary:
    """Summarise a profile: where its time goes, and how far it is from its limits."""
    spent: dict[str, float] = defaultdict(float)
    bound: dict[str, float] = defaultdict(float)
    for each in limits:
        spent[kind(each.layer)] += each.layer.ms
        bound[each.bound] += each.layer.ms
    layers_ms, limit_ms = sum(spent.values()), sum(each.limit_ms for each in limits)
    whole_ms = profile.unprofiled_ms or profile.total_ms
    return RooflineSummary(
        total_ms=profile.total_ms,
        unprofiled_ms=profile.unprofiled_ms,
        busy=profile.busy,
        layers_ms=layers_ms,
        limit_ms=limit_ms,
        share=limit_ms / whole_ms if whole_ms else 0.0,
        share_of_layers=limit_ms / layers_ms if layers_ms else 0.0,
        macs=sum(each.layer.macs for each in limits),
        ms_by_kind=dict(spent),
        ms_by_bound=dict(bound),
    )
