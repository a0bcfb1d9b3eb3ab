"""The linter: every layer under the rules of a target, confirmed by the runtime itself if it is installed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.lint.confirm import Confirmation
from edgekd.lint.graph import DEQUANTIZE, QUANTIZE, LintGraph, macs_of
from edgekd.lint.layer import MOVING, WEIGHTED, LayerContext
from edgekd.lint.result import Lint, LintedLayer, LintFinding
from edgekd.lint.rule import Rulebook, apply_rules, runs_in_int8
from edgekd.lint.target import TARGETS, LintTarget
from edgekd.lint.validity import check_graph

if TYPE_CHECKING:
    from onnx import ModelProto

# Quantised already, in ONNX's older form or when it runs: there is no Q/DQ to lint.
QUANTISED_OPS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
HALF_FLOAT = {"Sigmoid", "Softmax", "LeakyRelu", "MaxPool", "Resize"}  # float on one side by choice
# What only moves values costs nothing worth a line of its own.
UNLISTED = {*MOVING, "Flatten", "Gather", "Split", "Tile", "Expand", QUANTIZE, DEQUANTIZE, "Constant", "Identity"}


def lint(model: "ModelProto", target: str, *, confirm: bool = True, sizes: Mapping[str, int] | None = None) -> Lint:
    """Predict for each layer of ``model`` whether it will run in int8 on ``target``, by which rule not, and the remedy.

    Layers are convolutions and matrix products, and sums, concatenations and poolings next to a quantiser.

    Args:
        model: a float file or one with Q/DQ, whatever tool wrote it; weights inside.
        target: a name in :data:`TARGETS`.
        confirm: consult the runtime itself too if it is installed; coverage then follows it.
        sizes: of open dimensions beyond the batch, by their names in the file, for counts of multiply-accumulates.

    Raises:
        ModelError: an unknown target, a size of no open dimension, no layer to quantise, or no Q/DQ but operators that
            are quantised already.
    """
    runtime = TARGETS.find(target)
    check_graph(model)
    graph = LintGraph(model, sizes)
    check_operators(graph)
    layers = {index: lint_layer(layer, rulebook) for index, layer, rulebook in layers_to_lint(graph, runtime)}
    reported = {finding.code for layer in layers.values() for finding in layer.findings}
    of_file = tuple(runtime.of_file(graph, reported)) if runtime.of_file else ()
    found = Lint(target, tuple(layers.values()), of_file, sizes=graph.sizes)
    if not confirm:
        return replace(found, not_confirmed="not asked")
    if found.refused:
        return replace(found, not_confirmed=f"{runtime.name} refuses the file by rule, so it was not asked")
    return with_confirmation(found, layers, runtime.confirm(model, runtime))


def check_operators(graph: LintGraph) -> None:
    if quantised := next((node for node in graph.nodes if node.op_type in QUANTISED_OPS), None):
        raise ModelError(
            f"the file holds {quantised.op_type}: it is quantised in another form than QuantizeLinear and "
            "DequantizeLinear; lint the Q/DQ file that it was made of (quant_format=QDQ)"
        )
    if not any(node.op_type in WEIGHTED for node in graph.nodes):
        raise ModelError(f"the file holds none of {', '.join(WEIGHTED)}: there is nothing to run in int8")


def layers_to_lint(graph: LintGraph, target: LintTarget) -> Iterator[tuple[int, LayerContext, Rulebook]]:
    """Yield each layer worth a line, with its index in the file and its rules."""
    contexts = [target.layer(graph, node) for node in graph.nodes]
    taken_in = {id(layer.bias_sum) for layer in contexts}
    for index, layer in enumerate(contexts):
        rulebook = target.rules.get(layer.op)
        if rulebook is not None:
            if layer.op in WEIGHTED or (id(layer.node) not in taken_in and can_be_int8(layer)):
                yield index, layer, rulebook
        elif target.islands is not None and is_island(layer, target.islands):
            yield index, layer, target.islands


def can_be_int8(layer: LayerContext) -> bool:
    """Return whether int8 is possible: a neighbour is quantised, and it is not the network's last operator."""
    before = any(layer.graph.dequantiser(name, layer.moving) is not None for name in layer.node.input if name)
    behind = layer.output_quantiser is not None
    if layer.op in HALF_FLOAT:
        return before and behind
    return behind or (before and not is_network_output(layer))


def is_network_output(layer: LayerContext) -> bool:
    """Return whether the layer's output is the network's, but for a Flatten."""
    output = layer.output
    while not output.is_output and len(output.readers) == 1 and output.readers[0].op_type == "Flatten":
        output = LayerContext(layer.graph, output.readers[0]).output
    return output.is_output


def is_island(layer: LayerContext, rulebook: Rulebook) -> bool:
    """Return whether the layer stands between quantisers and costs two conversions to compute in float."""
    node = layer.node
    if layer.op in UNLISTED or not node.input or not node.output or layer.graph.dequantiser(node.input[0]) is None:
        return False
    return layer.output_quantiser is not None and bool(apply_rules(layer, rulebook))


def lint_layer(layer: LayerContext, rulebook: Rulebook) -> LintedLayer:
    node, weighted = layer.node, layer.op in WEIGHTED
    findings = apply_rules(layer, rulebook)
    macs = macs_of(node, layer.graph) if weighted else None
    return LintedLayer(node.name or node.output[0], layer.op, weighted, runs_in_int8(findings), findings, macs)


def with_confirmation(found: Lint, layers: dict[int, LintedLayer], confirmation: Confirmation) -> Lint:
    refusal: tuple[LintFinding, ...] = ()
    if confirmation.refusal:
        message = f"{confirmation.by}: {confirmation.refusal}"
        refusal = (LintFinding("runtime", "refused", message, "export the file anew for this target"),)
    confirmed = tuple(replace(layer, confirmed=confirmation.int8.get(index)) for index, layer in layers.items())
    confirmed_by = confirmation.by if confirmation.int8 or confirmation.refusal else None
    reason = confirmation.reason or (None if confirmed_by else "the runtime reports nothing of its layers")
    return replace(
        found, layers=confirmed, findings=(*found.findings, *refusal), confirmed_by=confirmed_by, not_confirmed=reason
    )
