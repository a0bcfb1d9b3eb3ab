"""Confirmation by ONNX Runtime: the graph that it writes after its optimisation."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgekd.errors import ExportError, first_line
from edgekd.files import temporary_folder
from edgekd.lint.confirm import Confirmation, node_index, with_marked_nodes
from edgekd.lint.graph import QUANTIZE

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# Whether its optimiser leaves int8 activations as they are, as it does on Arm, or makes them uint8 first.
INT8_ALLOWED = "session.qdqisint8allowed"
# Besides QLinear*: from int8 to float or to either.
INTEGER = {"QGemm", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger", "QAttention"}
KEEPING_TYPE = {
    *("MaxPool", "Resize", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Flatten", "Concat", "Split"),
    *("Gather", "Expand", "Tile", "Pad", "DepthToSpace", "Clip"),
}
INT8_TYPES = (2, 3)  # UINT8 and INT8 of TensorProto


class Converts(Protocol):
    @property
    def converts_int8(self) -> bool: ...


def confirm(model: "ModelProto", target: Converts) -> Confirmation:
    """Load the file on this machine, with the optimiser set as on the target's processor."""
    import onnxruntime

    by = f"ONNX Runtime {onnxruntime.__version__}"
    try:
        optimised = optimise(with_marked_nodes(model), target.converts_int8)
    except Exception as error:  # what onnxruntime raises derives from no common class
        return Confirmation(by, refusal=first_line(error))
    return Confirmation(by, int8=computed_in_int8(model.graph, optimised))


def optimise(model: "ModelProto", converts_int8: bool) -> "GraphProto":
    """Return the graph after all fusions that do not depend on the layouts of this machine's processor."""
    return optimised_graph(model.SerializeToString(), {INT8_ALLOWED: "0" if converts_int8 else "1"})


def optimised_graph(source: bytes | str, entries: Mapping[str, str]) -> "GraphProto":
    import onnx
    import onnxruntime

    with temporary_folder() as folder:
        written = folder / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        # Above EXTENDED the file holds this processor's layouts; all int8 fusions are made by then.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(written)
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        return onnx.load(written).graph


def float_convolutions(path: Path) -> tuple[list[str], int]:
    """Return the names of the convolutions that run in float on this machine, and the number of all of them.

    Raises:
        ExportError: ONNX Runtime cannot load the file.
    """
    try:
        nodes = optimised_graph(str(path), {}).node
    except Exception as error:  # what onnxruntime raises derives from no common class
        raise ExportError(f"{path} does not load in ONNX Runtime: {first_line(error)}") from error
    left = [node.name for node in nodes if node.op_type in ("Conv", "FusedConv", "ConvTranspose")]
    return left, len(left) + sum(node.op_type == "QLinearConv" for node in nodes)


def computed_in_int8(given: "GraphProto", optimised: "GraphProto") -> dict[int, bool]:
    """Return by index in ``given`` what computed in int8; a missing node was fused into another, or did nothing."""
    makers = {name: node for node in optimised.node for name in node.output}
    typed = {value.name for value in optimised.input if value.type.tensor_type.elem_type in INT8_TYPES}
    found = {index: is_int8(node, makers, typed) for node in optimised.node if (index := node_index(node)) is not None}
    return {index: found[index] for index in range(len(given.node)) if index in found}


def is_int8(node: "NodeProto", makers: dict[str, "NodeProto"], typed: set[str]) -> bool:
    if node.op_type in INTEGER or node.op_type.startswith("QLinear"):
        return True
    if node.op_type not in KEEPING_TYPE or not node.input:
        return False
    maker = makers.get(node.input[0])
    if maker is None:
        return node.input[0] in typed
    return maker.op_type == QUANTIZE or is_int8(maker, makers, typed)
