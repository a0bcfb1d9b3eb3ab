"""Export of a network to ONNX: dynamic batch, weights inline, no trace of the machine that wrote the file."""

import ast
import copy
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import Message
from onnx import ModelProto
from torch import nn
from torch.export import Dim
from torch.fx import GraphModule

from edgekd import __version__
from edgekd.errors import ExportError, first_line
from edgekd.files import write_bytes
from edgekd.log import quiet
from edgekd.preprocess import Preprocess

OPSET = 20
INPUT, OUTPUT = "input", "logits"
# where the exporter stores the paths of a node's modules, as a Python list of every level
SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(
    network: nn.Module,
    path: Path | str,
    preprocess: Preprocess,
    classes: Iterable[str] = (),
    opset: int = OPSET,
) -> Path:
    """Write ``network`` (float, or int8 from :func:`edgekd.quantize.convert`) to ``path``.

    The file takes ``input`` float32 (batch, *shape) and gives ``logits`` (batch, classes). Its metadata holds the
    preprocessing and the names of the classes.

    Raises:
        ExportError: the network cannot be exported, or the exporter's result is not valid.
    """
    content = to_onnx(network, preprocess, classes, opset).SerializeToString(deterministic=True)
    write_bytes(Path(path), content)
    return Path(path)


def to_onnx(network: nn.Module, preprocess: Preprocess, classes: Iterable[str], opset: int = OPSET) -> ModelProto:
    """Export ``network`` as :func:`export_onnx` does, to a protobuf in memory."""
    model = _exported(network, preprocess.shape, opset)
    written = {entry.domain: entry.version for entry in model.opset_import}
    if written.get("") != opset:
        raise ExportError(f"opset {opset} was asked for and {written.get('')} written; ask for {written.get('')}")
    model.producer_name, model.producer_version = "edgekd", __version__
    _name_by_layer(model)
    _strip_metadata(model)
    model.graph.name = "edgekd"
    onnx.helper.set_model_props(
        model,
        {
            "edgekd.preprocess": json.dumps(preprocess.to_json(), sort_keys=True),
            "edgekd.labels": json.dumps(list(classes)),
        },
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    return model


def _exported(network: nn.Module, shape: tuple[int, ...], opset: int) -> ModelProto:
    network = copy.deepcopy(network)
    if not isinstance(network, GraphModule):
        # In training mode dropout would be exported; quantised graphs have no modes.
        network.eval()
    # For channels-last weights the exporter adds seven needless nodes around the pooling.
    network.to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, *shape)
    cache_operator_table()
    try:
        # The exporter prints to standard output, which belongs to results.
        with quiet():
            program = torch.onnx.export(
                network,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamo=True,
                opset_version=opset,
                external_data=False,
                dynamic_shapes=({0: Dim("batch")},),
                verbose=False,
            )
    except Exception as error:
        # The exporter's own error is advice on how to report it; the reason is underneath.
        reason = first_line(error.__cause__ or error)
        raise ExportError(f"{type(network).__name__} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    return program.model_proto


def _name_by_layer(model: ModelProto) -> None:
    """Rename nodes from the exporter's ``node_Conv_72`` to module path and operator, ``layer1.0.conv1/Conv``."""
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
        _, *modules = [*ast.literal_eval(scopes)][:-1] or [""]
        name = f"{modules[-1] if modules else ''}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _strip_metadata(message: Message) -> None:
    """Remove the stack traces with paths that the exporter records at every depth."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for child in value if isinstance(value, Iterable) else [value]:
                _strip_metadata(child)


@cache
def cache_operator_table() -> None:
    """Let PyTorch's exporter build its table of operators once in this process; each export gets a copy.

    The exporter builds it for each network from the source of five hundred functions, a fifth of an export's time.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        build = cache(ONNXRegistry.from_torchlib)
    except (ImportError, AttributeError):  # a PyTorch that has no such table to keep
        return

    def from_torchlib(_: type, *args: Any, **options: Any) -> Any:
        built = build(*args, **options)
        table = copy.copy(built)
        table.functions = {name: list(found) for name, found in built.functions.items()}
        return table

    ONNXRegistry.from_torchlib = classmethod(from_torchlib)  # type: ignore[assignment]
