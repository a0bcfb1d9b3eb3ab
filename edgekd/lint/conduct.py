"""The linter: every layer under the rules of a target, then the word of the runtime itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.lint.confirm import Confirmation
from edgekd.lint.graph import DEQUANTIZE, QUANTIZE, LintGraph
from edgekd.lint.macs import macs_of
from edgekd.lint.result import Lint, LintedLayer, LintFinding
from edgekd.lint.rule import Rulebook, judge, runs_in_int8
from edgekd.lint.site import MOVING, WEIGHTED, LintSite
from edgekd.lint.target import TARGETS, LintTarget
from edgekd.lint.whole import must_be_whole

if TYPE_CHECKING:
    from onnx import ModelProto

# Quantised already, in ONNX's older form or when it runs: no Q/DQ to judge.
QUANTISED_OPS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
HALF_FLOAT = {"Sigmoid", "Softmax", "LeakyRelu", "MaxPool", "Resize"}  # float on one side by choice
# What only moves values costs nothing worth a line of its own.
UNLISTED = {*MOVING, "Flatten", "Gather", "Split", "Tile", "Expand", QUANTIZE, DEQUANTIZE, "Constant", "Identity"}


def lint(model: "ModelProto", target: str, *, confirm: bool = True) -> Lint:
    """Says of each convolution and matrix product, and of each sum, concatenation and pooling beside a quantiser,
    whether it will run in int8 on ``target``, by which rule not, and what to change.

    Args:
        model: a float file or one with Q/DQ, whatever tool wrote it; weights inside.
        target: a name in :data:`TARGETS`.
        confirm: ask the runtime itself too, where it is installed; its word stands in the coverage.

    Raises:
        ModelError: an unknown target, no layer to quantise, or no Q/DQ but operators that are quantised already.
    """
    where = TARGETS.find(target)
    must_be_whole(model)
    graph = LintGraph(model)
    check(graph)
    layers = {place: judged(site, book) for place, site, book in listed(graph, where)}
    said = {finding.code for layer in layers.values() for finding in layer.findings}
    of_file = tuple(where.of_file(graph, said)) if where.of_file else ()
    found = Lint(target, tuple(layers.values()), of_file)
    if not confirm:
        return replace(found, not_confirmed="not asked")
    if found.refused:
        return replace(found, not_confirmed=f"{where.name} refuses the file by rule, so it was not asked")
    return with_confirmation(found, layers, where.confirm(model, where))


def check(graph: LintGraph) -> None:
    if quantised := next((node for node in graph.nodes if node.op_type in QUANTISED_OPS), None):
        raise ModelError(
            f"the file holds {quantised.op_type}: it is quantised in another form than QuantizeLinear and "
            "DequantizeLinear; lint the Q/DQ file that it was made of (quant_format=QDQ)"
        )
    if not any(node.op_type in WEIGHTED for node in graph.nodes):
        raise ModelError(f"the file holds none of {', '.join(WEIGHTED)}: there is nothing to run in int8")


def listed(graph: LintGraph, target: LintTarget) -> Iterator[tuple[int, LintSite, Rulebook]]:
    """Each layer worth a line, with its place in the file."""
    sites = [target.site(graph, node) for node in graph.nodes]
    taken_in = {id(site.bias_sum) for site in sites}
    for place, site in enumerate(sites):
        book = target.rules.get(site.op)
        if book is not None:
            if site.op in WEIGHTED or (id(site.node) not in taken_in and wanted(site)):
                yield place, site, book
        elif target.islands is not None and is_island(site, target.islands):
            yield place, site, target.islands


def wanted(site: LintSite) -> bool:
    """Whether int8 is to be had: something before or behind is quantised, and it is not the network's last word."""
    before = any(site.graph.dequantiser(name, site.moving) is not None for name in site.node.input if name)
    behind = site.output_quantiser is not None
    if site.op in HALF_FLOAT:
        return before and behind
    return behind or (before and not hands_out(site))


def hands_out(site: LintSite) -> bool:
    """Whether the network gives its output as it is, but for its shape."""
    output = site.output
    while not output.handed_out and len(output.readers) == 1 and output.readers[0].op_type == "Flatten":
        output = LintSite(site.graph, output.readers[0]).output
    return output.handed_out


def is_island(site: LintSite, book: Rulebook) -> bool:
    """Whether it stands between quantisers and costs two conversions for what it computes in float."""
    node = site.node
    if site.op in UNLISTED or not node.input or not node.output or site.graph.dequantiser(node.input[0]) is None:
        return False
    return site.output_quantiser is not None and bool(judge(site, book))


def judged(site: LintSite, book: Rulebook) -> LintedLayer:
    node, weighted = site.node, site.op in WEIGHTED
    findings = judge(site, book)
    macs = macs_of(node, site.graph) if weighted else None
    return LintedLayer(node.name or node.output[0], site.op, weighted, runs_in_int8(findings), findings, macs)


def with_confirmation(found: Lint, places: dict[int, LintedLayer], said: Confirmation) -> Lint:
    refusal = (
        (LintFinding("runtime", "refused", f"{said.by}: {said.refusal}", "export the file anew for this target"),)
        if said.refusal
        else ()
    )
    layers = tuple(replace(layer, confirmed=said.int8.get(place)) for place, layer in places.items())
    confirmed_by = said.by if said.int8 or said.refusal else None
    reason = said.reason or (None if confirmed_by else "the runtime tells nothing of its layers")
    return replace(
        found, layers=layers, findings=(*found.findings, *refusal), confirmed_by=confirmed_by, not_confirmed=reason
    )
