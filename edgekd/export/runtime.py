"""Outputs of an exported file in ONNX Runtime, and the convolutions that run in int8 there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from edgekd.errors import ExportError, first_line
from edgekd.files import temporary_folder
from edgekd.machine_lock import training
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.tensors import Inputs, arguments_of

CPU = "CPUExecutionProvider"


def runtime_logits(path: Path, batches: Iterable[Inputs], optimised: bool = True, threads: int = 0) -> Tensor:
    """Return the output ``logits`` (N, ...) of the file, or its first if there is none, by :func:`runtime_outputs`."""
    found = (each.get(LOGITS, next(iter(each.values()))) for each in runtime_outputs(path, batches, optimised, threads))
    return torch.from_numpy(np.concatenate([each.numpy() for each in found]))


def runtime_outputs(
    path: Path, batches: Iterable[Inputs], optimised: bool = True, threads: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Yield the outputs of the file by name in ONNX Runtime on the CPU, batch by batch.

    Args:
        batches: a tensor each for a file with one input; else tensors in the order of its inputs, or by their names.
        optimised: without optimisations ONNX Runtime computes the operators as the file has them, which checks files
            for other runtimes.
        threads: 0 for as many as there are cores.

    Raises:
        ExportError: ONNX Runtime cannot load the file, or a batch has other inputs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(path, options)
    inputs, outputs = ([each.name for each in side] for side in (session.get_inputs(), session.get_outputs()))
    for batch in batches:
        given = {name: tensor.numpy() for name, tensor in _by_name(batch, inputs, path).items()}
        with training():
            found = session.run(None, given)
        yield {name: torch.from_numpy(array) for name, array in zip(outputs, found, strict=True)}


def _by_name(batch: Inputs, names: Sequence[str], path: Path) -> Mapping[str, Tensor]:
    given = batch if isinstance(batch, Mapping) else dict(enumerate(arguments_of(batch)))
    if len(given) != len(names) or (isinstance(batch, Mapping) and set(given) != set(names)):
        raise ExportError(f"{path} takes {', '.join(names)}; the batch has {', '.join(map(str, given))}")
    return dict(zip(names, given.values(), strict=True)) if given is not batch else batch


def float_convolutions(path: Path) -> tuple[list[str], int]:
    """Return the names of the convolutions that ONNX Runtime runs in float, and the number of all convolutions."""
    with temporary_folder() as folder:
        optimised = folder / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        # Above EXTENDED the file holds this processor's layouts; all int8 fusions are made by then.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
        _session(path, options)
        nodes = onnx.load(optimised).graph.node
    left = [node.name for node in nodes if node.op_type in ("Conv", "FusedConv", "ConvTranspose")]
    return left, len(left) + sum(node.op_type == "QLinearConv" for node in nodes)


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[CPU])
    except Exception as error:
        raise ExportError(f"ONNX Runtime cannot load {path}: {first_line(error)}") from error
