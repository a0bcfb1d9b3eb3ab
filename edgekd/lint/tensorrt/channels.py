"""Which convolutions TensorRT computes faster in int8 than in float16.

The choice that NVIDIA's Model-Optimizer makes when it places Q/DQ (graph_utils.py, find_nodes_from_convs_to_exclude).
"""

from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

OF_INT8: Rules = Registry("rule on channels")

FULL, PART = 16, 8
ADVICE = "leave it in float16 (no quantisers around it), or prune to multiples of 16 channels, 8 at least"


@OF_INT8.register("channels")
def channels(site: LintSite) -> LintVerdict | None:
    if site.op not in ("Conv", "ConvTranspose") or len(site.weight_shape) < 3:
        return None
    out, into = counts(site)
    if (out >= FULL and into >= FULL) or _dense_exception(site, out, into) or _grouped_exception(site, out):
        return None
    of = f", {site.group} groups" if site.group > 1 else ""
    kernel = "x".join(map(str, site.weight_shape[2:]))
    return LintVerdict(
        "slow", f"{into} to {out} channels{of}, kernel {kernel}: int8 kernels are padded to 16 or 32", ADVICE
    )


@OF_INT8.register("transposed")
def transposed(site: LintSite) -> LintVerdict | None:
    if site.op != "ConvTranspose":
        return None
    return LintVerdict(
        "note",
        "TensorRT for RTX 1.7 computes transposed convolutions in float, quantised or not",
        "time it against a file without quantisers around it",
    )


@OF_INT8.register("grouped")
def grouped(site: LintSite) -> LintVerdict | None:
    if site.op != "Conv" or site.group == 1 or not site.weight_shape:
        return None
    if site.weight_shape[1] == 1:
        return None
    return LintVerdict(
        "slow",
        f"it has {site.group} groups of several channels, which TensorRT may compute one by one in int8",
        "time it against float16",
    )


def counts(site: LintSite) -> tuple[int, int]:
    """Output channels, and input channels of a group."""
    first, second = site.weight_shape[:2]
    return (second * site.group, first // site.group) if site.op == "ConvTranspose" else (first, second)


def _dense_exception(site: LintSite, out: int, into: int) -> bool:
    in_eights = out % PART == 0 or into % PART == 0
    square = len(set(site.weight_shape[2:])) == 1
    return site.group == 1 and in_eights and (_is_first(site) or out >= FULL or into >= FULL) and square


def _grouped_exception(site: LintSite, out: int) -> bool:
    return site.group > 1 and out % PART == 0 and min(site.weight_shape[2:]) >= 3


def _is_first(site: LintSite) -> bool:
    """Whether nothing but quantisers lies between the network's input and the layer."""
    node = site.graph.source(site.node.input[0])
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = site.graph.source(node.input[0])
    return node is None
