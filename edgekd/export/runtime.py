"""Outputs of an exported file in ONNX Runtime, and the convolutions that run in int8 there."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from edgekd.errors import ExportError, first_line
from edgekd.files import temporary_folder

CPU = "CPUExecutionProvider"


def runtime_logits(path: Path, batches: Iterable[Tensor], optimised: bool = True, threads: int = 0) -> Tensor:
    """Return the logits (N, classes) of the file in ONNX Runtime on the CPU, in the order of the input ``batches``.

    Args:
        optimised: without optimisations ONNX Runtime computes the operators as the file has them, which checks files
            for other runtimes.
        threads: 0 for as many as there are cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(path, options)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: inputs.numpy()})[0] for inputs in batches]
    return torch.from_numpy(np.concatenate(parts))


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
