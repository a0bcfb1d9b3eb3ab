"""Export of a network to ONNX: dynamic batch, weights inline, no trace of the machine that wrote the file."""

import ast
import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from google.protobuf.message import Message
from onnx import ModelProto, NodeProto, numpy_helper
from torch import nn
from torch.fx import GraphModule

from edgekd import __version__
from edgekd.deploy.names import name_values
from edgekd.errors import ExportError, first_line
from edgekd.files import write_bytes
from edgekd.log import quiet
from edgekd.models.copies import copied
from edgekd.models.fold import fold
from edgekd.preprocess import Preprocess
from edgekd.tasks.limits import asked_limits
from edgekd.tasks.signature import INPUT, LOGITS, METADATA, Shape, Signature, TensorSpec

OPSET = 20
# where the exporter stores the paths of a node's modules, as a Python list of every level
SCOPES = "pkg.torch.onnx.name_scopes"
# From which on a Pad names its axes.
NAMED_AXES = 18
# Deployed files may have none of these between the two.
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def export_onnx(
    network: nn.Module,
    path: Path | str,
    preprocess: Preprocess | None,
    classes: Iterable[str] = (),
    opset: int = OPSET,
    inputs: Shape | Signature | None = None,
) -> Path:
    """Write ``network`` (float, or int8 from :func:`edgekd.quantize.convert`) to ``path``.

    The file takes ``input`` float32 (batch, *shape) and gives ``logits`` (batch, classes), or what ``inputs`` names.
    Its metadata holds the preprocessing, the names of the classes, and a signature other than these two tensors.

    Args:
        preprocess: of the input that is an image or a vector; None where there is none, and then ``inputs`` is needed.
        inputs: what the network takes and gives; one tensor of ``preprocess.shape`` if left out.

    Raises:
        ExportError: the network cannot be exported, or the exporter's result is not valid.
    """
    content = to_onnx(network, preprocess, classes, opset, inputs).SerializeToString(deterministic=True)
    write_bytes(Path(path), content)
    return Path(path)


def to_onnx(
    network: nn.Module,
    preprocess: Preprocess | None,
    classes: Iterable[str],
    opset: int = OPSET,
    inputs: Shape | Signature | None = None,
) -> ModelProto:
    """Export ``network`` as :func:`export_onnx` does, to a protobuf in memory."""
    taken = inputs or (preprocess and preprocess.shape)
    if not taken:
        raise ExportError("neither preprocess nor inputs says what the network takes: give one of them")
    signature = Signature.of(taken)
    model = _exported(network, signature, opset)
    written = {entry.domain: entry.version for entry in model.opset_import}
    if written.get("") != opset:
        raise ExportError(f"opset {opset} was asked for and {written.get('')} written; ask for {written.get('')}")
    must_be_open(model, signature)
    keep_zero_padding(model)
    model.producer_name, model.producer_version = "edgekd", __version__
    _name_by_layer(model)
    _strip_metadata(model)
    model.graph.name = "edgekd"
    about = {
        "preprocess": preprocess and preprocess.to_json(),
        "labels": list(classes),
        METADATA: None if signature.is_single else signature.to_json(),
    }
    kept = {f"edgekd.{key}": json.dumps(value, sort_keys=True) for key, value in about.items() if value is not None}
    onnx.helper.set_model_props(model, kept)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    return model


def signature_of(model: ModelProto) -> Signature | None:
    """Return the signature in the metadata of a file that :func:`export_onnx` wrote, or None for the usual one.

    Raises:
        ModelError: it is damaged.
    """
    return Signature.in_metadata({entry.key: entry.value for entry in model.metadata_props})


def _exported(network: nn.Module, signature: Signature, opset: int) -> ModelProto:
    network = fold(copied(network)).cpu()
    if not isinstance(network, GraphModule):
        # In training mode dropout would be exported; quantised graphs have no modes.
        network.eval()
    # For channels-last weights the exporter adds seven needless nodes around the pooling.
    network.to(memory_format=torch.contiguous_format)
    cache_operator_table()
    # For other names the exporter does not look whether they are free.
    single = signature.is_single
    try:
        # The exporter prints to standard output, which belongs to results.
        with quiet(), operators_looked_up_once():
            program = torch.onnx.export(
                network,
                signature.example(),
                input_names=[INPUT] if single else None,
                output_names=[LOGITS] if single else None,
                dynamo=True,
                opset_version=opset,
                external_data=False,
                dynamic_shapes=signature.dynamic_shapes(),
                verbose=False,
            )
    except Exception as error:
        # The exporter's own error is advice on how to report it; the reason is underneath.
        cause = error.__cause__ or error
        reason = asked_limits(cause) or first_line(cause)
        raise ExportError(f"{type(network).__name__} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    if not single:
        _name_tensors(program.model.graph, signature)
    return program.model_proto


def _name_tensors(graph: ir.Graph, signature: Signature) -> None:
    """Give the inputs and outputs the names of ``signature``, and open dimensions of outputs theirs."""
    given = len(graph.inputs), len(graph.outputs)
    expected = len(signature.inputs), len(signature.outputs) or given[1]
    if given != expected:
        raise ExportError(
            f"the exporter wrote {given[0]} inputs and {given[1]} outputs, and the network's signature names "
            f"{expected[0]} and {expected[1]}: find it anew (edgekd.models.signature.find_signature)"
        )
    names = [each.name for each in signature.outputs] or [str(value.name) for value in graph.outputs]
    name_values(graph, [each.name for each in signature.inputs], names)
    for value, spec in zip(graph.outputs, signature.outputs, strict=False):
        _open_dimensions(value, spec)


def _open_dimensions(value: ir.Value, spec: TensorSpec) -> None:
    """Name the dimensions of an output that are open, where the exporter wrote the example's size, as behind a GRU."""
    if value.shape is not None and len(value.shape) == len(spec.shape) + 1:
        for axis, size in enumerate(spec.shape, 1):
            if isinstance(size, str) and isinstance(value.shape[axis], int):
                value.shape[axis] = ir.SymbolicDim(size)


def must_be_open(model: ModelProto, signature: Signature) -> None:
    """Refuse a file with a size in the place of an open dimension."""
    for spec, value in zip(signature.inputs, model.graph.input, strict=True):
        dims = value.type.tensor_type.shape.dim[1:]
        fixed = [size for size, dim in zip(spec.shape, dims, strict=True) if isinstance(size, str) and dim.dim_value]
        if fixed:
            raise ExportError(
                f"the exporter fixed the open dimension {fixed[0]!r} of {spec.name!r} to the example's size: give it "
                "as a fixed size, or make the network depend on no number taken from the shape"
            )


def keep_zero_padding(model: ModelProto) -> None:
    """Let each ``Pad`` that a ``MaxPool`` follows, with or without quantisers between, name all of its axes, in place.

    ONNX Runtime 1.31 otherwise makes both one max pooling, whose padding is −infinity: negative values at the border
    then stay, where 0 is larger. It leaves a ``Pad`` that names its axes alone.
    """
    graph = model.graph
    if next(entry.version for entry in model.opset_import if not entry.domain) < NAMED_AXES:
        return
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    made = {name: node for node in graph.node for name in node.output}
    pooled = {_pooled(node, made) for node in graph.node if node.op_type == "MaxPool"}
    for node in graph.node:
        if node.op_type == "Pad" and node.output[0] in pooled & ranks.keys() and len(node.input) < 4:
            axes = f"{node.output[0]}.axes"
            graph.initializer.append(numpy_helper.from_array(np.arange(ranks[node.output[0]]), axes))
            node.input.extend([*[""] * (3 - len(node.input)), axes])


def _pooled(node: NodeProto, made: dict[str, NodeProto]) -> str:
    name = node.input[0]
    while name in made and made[name].op_type in QUANTISERS:
        name = made[name].input[0]
    return name


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


@contextmanager
def operators_looked_up_once() -> Iterator[None]:
    """Let PyTorch look up its composite operators once in an export.

    It does so sixty times, a sixth of an export's time. The next export looks again, as a library may have added some.
    """
    try:
        from torch._export import utils

        look_up = utils._materialize_cpp_cia_ops
    except (ImportError, AttributeError):  # a PyTorch that has no such function
        yield
        return
    utils._materialize_cpp_cia_ops = cache(look_up)
    try:
        yield
    finally:
        utils._materialize_cpp_cia_ops = look_up
