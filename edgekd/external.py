"""External weights of an ONNX file.

They are files in its folder that its tensors name.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from edgekd.errors import EdgekdError, first_line
from edgekd.files import require_file

NUMBER = re.compile(r"[0-9]{1,20}")
# Letters of a name that a message shows.
SHOWN = 100

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto


def external_files(path: Path, error: type[EdgekdError]) -> tuple[Path, ...]:
    """Return the files that hold weights of the ONNX file ``path``, each once.

    Raises:
        EdgekdError: of the type ``error``: it is no ONNX file, or one of the files is missing, too short or not in
            the folder of ``path``.
    """
    import onnx

    require_file(path, error)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as cause:  # protobuf's and the operating system's errors have no common class
        raise error(f"{path} is no ONNX file: {first_line(cause)}; export it again") from cause
    return tuple(dict.fromkeys(_file_of(tensor, path, error) for tensor in tensors_outside(model)))


def tensors_outside(model: "ModelProto") -> list["TensorProto"]:
    """Return the tensors of ``model``, in subgraphs and attributes too, whose values are in another file."""
    return [tensor for tensor in _tensors(model) if tensor.data_location == tensor.EXTERNAL]


def _file_of(tensor: "TensorProto", path: Path, error: type[EdgekdError]) -> Path:
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    # Backslashes and drives lead out of the folder on Windows.
    inner = PureWindowsPath(location)
    if not location or inner.anchor or ".." in inner.parts:
        raise error(
            f"{path} keeps the weights {tensor.name!r} in {location!r}, which is not a file in its folder; "
            "export it again with the weights inside or next to it"
        )
    file = path.parent / location
    # Unlike Path.is_file, this says no to a name that is too long for any file.
    if not os.path.isfile(file):  # noqa: PTH113
        raise error(f"{path} keeps weights in a missing file: {location[:SHOWN]}; put it next to the model")
    start, length = (int(said[key]) if NUMBER.fullmatch(said.get(key, "")) else 0 for key in ("offset", "length"))
    if start + length > file.stat().st_size:
        raise error(
            f"{file} is too short for the weights {tensor.name!r} of {path.name}; is it whole, and this model's?"
        )
    return file


def _tensors(model: "ModelProto") -> Iterator["TensorProto"]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_attributes(node.attribute)


def _of_graph(graph: "GraphProto") -> Iterator["TensorProto"]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable["AttributeProto"]) -> Iterator["TensorProto"]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _of_graph(graph)
