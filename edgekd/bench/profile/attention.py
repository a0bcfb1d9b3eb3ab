"""A profile held against the roofs: which layers are far from what the machine could do, and what that costs."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.profile.roofs import Roofs

NOT_COUNTED = "not counted"
# Products whose arithmetic no profiler tells.
UNCOUNTED = {"Attention", "MultiHeadAttention", "QAttention", "LSTM", "GRU", "RNN", "Einsum", "DeformConv"}
CONVERTING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Transpose"}


@dataclass(frozen=True)
class Judged:
    """``limit_ms`` is the least time that the roofs allow, ``bound`` which of them sets it, ``share`` limit over time.

    A step that computes and moves nothing, such as a reshape, is bound by neither: all of its time is ``overhead``.
    One whose arithmetic is ``not counted`` is taken to be at its limit.
    """

    layer: LayerTime
    limit_ms: float
    bound: str

    @property
    def share(self) -> float:
        return self.limit_ms / self.layer.ms if self.layer.ms else 0.0

    @property
    def winnable_ms(self) -> float:
        """Never less than nothing: a layer a little above the roof is at the roof."""
        return max(0.0, self.layer.ms - self.limit_ms)

    def to_json(self) -> dict[str, Any]:
        own = {"limit_ms": self.limit_ms, "bound": self.bound, "share": self.share, "winnable_ms": self.winnable_ms}
        return {**asdict(self.layer), **own}


def judge(profile: LayerProfile, roofs: Roofs) -> list[Judged]:
    """Each layer beside its limit, in the order of the profile."""
    weights = sum(layer.weight_bytes for layer in profile.layers)
    return [judge_layer(layer, roofs, weights) for layer in profile.layers]


def judge_layer(layer: LayerTime, roofs: Roofs, all_weights: int) -> Judged:
    if layer.op in UNCOUNTED or ("Conv" in layer.op and not layer.macs):
        return Judged(layer, layer.ms, NOT_COUNTED)
    if not layer.macs and not layer.bytes:
        return Judged(layer, 0.0, "overhead")
    limit = roofs.limit_ms(layer.macs, layer.bytes, layer.precision, layer.weight_bytes, all_weights)
    return Judged(layer, *limit)


def worst_first(judged: list[Judged]) -> list[Judged]:
    """By the time that could be won, most first."""
    return sorted(judged, key=lambda each: each.winnable_ms, reverse=True)


def kind(layer: LayerTime) -> str:
    """What the time goes into: products by their precision, changes of type and layout, everything else."""
    if layer.op in CONVERTING or layer.op.startswith("Reorder"):
        return "conversion"
    return layer.precision if layer.macs else "other"


def summary(profile: LayerProfile, judged: list[Judged]) -> dict[str, Any]:
    """Where the time goes, and how far the whole network is from the sum of its layers' limits.

    ``share`` is that of the inference without the profiler, ``share_of_layers`` that of the profiled layers.
    """
    spent: dict[str, float] = defaultdict(float)
    bound: dict[str, float] = defaultdict(float)
    for each in judged:
        spent[kind(each.layer)] += each.layer.ms
        bound[each.bound] += each.layer.ms
    layers_ms, limit_ms = sum(spent.values()), sum(each.limit_ms for each in judged)
    whole_ms = profile.unprofiled_ms or profile.total_ms
    return {
        "total_ms": profile.total_ms,
        "unprofiled_ms": profile.unprofiled_ms,
        "busy": profile.busy,
        "layers_ms": layers_ms,
        "limit_ms": limit_ms,
        "share": limit_ms / whole_ms if whole_ms else 0.0,
        "share_of_layers": limit_ms / layers_ms if layers_ms else 0.0,
        "macs": sum(each.layer.macs for each in judged),
        "ms_by_kind": dict(spent),
        "ms_by_bound": dict(bound),
    }
