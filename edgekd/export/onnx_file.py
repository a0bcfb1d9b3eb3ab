"""A network as an ONNX file: dynamic batch, weights inline, nothing of the machine that wrote it."""

import ast
import copy
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from google.protobuf.message import Message
from onnx import ModelProto
from torch import nn
from torch.export import Dim
from torch.fx import GraphModule

from edgekd import __version__
from edgekd.errors import ExportError, first_line
from edgekd.export.operators import keep_operators
from edgekd.files import write_bytes
from edgekd.log import quiet
from edgekd.preprocess import Preprocess

OPSET = 20
INPUT, OUTPUT = "input", "logits"
# where the exporter keeps the path of the module that a node comes from, as a Python list of every level
SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(
    network: nn.Module,
    path: Path | str,
    preprocess: Preprocess,
    classes: Iterable[str] = (),
    opset: int = OPSET,
) -> Path:
    """Writes ``network`` (float, or int8 from :func:`edgekd.quantize.convert`) to ``path``.

    The file takes ``input`` float32 (batch, *shape) and gives ``logits`` (batch, classes). How raw input
    becomes the network's and what the classes are called is written into its metadata.

    Raises:
        ExportError: the network cannot be exported, or the exporter's result is not valid.
    """
    content = to_onnx(network, preprocess, classes, opset).SerializeToString(deterministic=True)
    write_bytes(Path(path), content)
    return Path(path)


def to_onnx(network: nn.Module, preprocess: Preprocess, classes: Iterable[str], opset: int = OPSET) -> ModelProto:
    """The same as a protobuf in memory."""
    model = _exported(network, preprocess.shape, opset)
    written = {entry.domain: entry.version for entry in model.opset_import}
    if written.get("") != opset:
        raise ExportError(f"opset {opset} was asked for and {written.get('')} written; ask for {written.get('')}")
    model.producer_name, model.producer_version = "edgekd", __version__
    _name_by_layer(model)
    _forget_the_machine(model)
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
        # In training mode its dropout would be written into the file; quantised graphs have no modes.
        network.eval()
    # Of channels-last weights the exporter makes seven nodes more around the pooling, to turn what needs no turning.
    network.to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, *shape)
    keep_operators()
    try:
        # The exporter greets on standard output, which belongs to results, and prints what it cannot trace.
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
    """``layer1.0.conv1/Conv`` for the exporter's ``node_Conv_72``: the path of the module, then the operator."""
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
        _, *modules = [*ast.literal_eval(scopes)][:-1] or [""]
        name = f"{modules[-1] if modules else ''}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _forget_the_machine(message: Message) -> None:
    """The exporter records stack traces with paths, here and there at every depth."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for child in value if isinstance(value, Iterable) else [value]:
                _forget_the_machine(child)
