"""A Triton model repository that serves the bundle as it is."""

import json
from collections.abc import Mapping, Sequence

from edgekd.bundle.manifest import LABELS, PLATFORM, Manifest, Tensor, decoded_of
from edgekd.errors import BundleError
from edgekd.files import canonical_json
from edgekd.tasks.task import Task

DATATYPES = {
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
}  # fmt: skip
MAX_BATCH_SIZE = 64


def config_of(manifest: Manifest, task: Task) -> str:
    """Return config.pbtxt of a bundle.

    Where more than the largest logit decides, clients find task, labels and the decoder's options in its parameters.
    """
    parameters = {
        "task": manifest.task,
        "labels": canonical_json(manifest.labels).decode(),
        "decoder": canonical_json(manifest.decoder).decode(),
    }
    return config(
        manifest.name,
        manifest.inputs,
        manifest.outputs,
        LABELS if ranks_classes(task) else None,
        {} if ranks_classes(task) else parameters,
    )


def ranks_classes(task: Task) -> bool:
    """Return whether Triton's classification extension means what the task does: one class, by the largest logit."""
    is_ranking = [len(shape) for shapes in task.output_shapes.values() for shape in shapes] == [1]
    return task.outputs == "classes" and is_ranking and not task.decoder()


def config(
    name: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    labels: str | None,
    parameters: Mapping[str, str] | None = None,
) -> str:
    """Return config.pbtxt of the model ``name``; ``labels`` is the file of class names for the output that is decoded.

    When the first dimension of every tensor is free it is the batch, which Triton wants left out of ``dims``;
    otherwise ``max_batch_size`` is 0 and ``dims`` is the whole shape.
    """
    batched = all(tensor.shape[:1] == (-1,) for tensor in (*inputs, *outputs))
    lines = [
        f"name: {quoted(name)}",
        f"platform: {quoted(PLATFORM)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH_SIZE if batched else 0}",
    ]
    lines += [section("input", tensor, batched, None) for tensor in inputs]
    for tensor in outputs:
        lines.append(section("output", tensor, batched, labels if tensor.name == decoded_of(outputs) else None))
    lines += [
        f"parameters {{\n  key: {quoted(f'edgekd.{key}')}\n  value: {{ string_value: {quoted(value)} }}\n}}"
        for key, value in (parameters or {}).items()
    ]
    return "\n".join(lines) + "\n"


def section(kind: str, tensor: Tensor, batched: bool, labels: str | None) -> str:
    if tensor.datatype not in DATATYPES:
        raise BundleError(f"{kind} {tensor.name!r}: Triton cannot serve {tensor.datatype}")
    dims = tensor.shape[1:] if batched else tensor.shape
    # Triton knows no empty shape.
    reshaped = [] if dims else ["  reshape { shape: [ ] }"]
    lines = [
        f"{kind} {{",
        f"  name: {quoted(tensor.name)}",
        f"  data_type: TYPE_{tensor.datatype}",
        f"  dims: [{', '.join(map(str, dims or (1,)))}]",
        *reshaped,
    ]
    lines += [f"  label_filename: {quoted(labels)}"] if labels else []
    return "\n".join([*lines, "}"])


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
