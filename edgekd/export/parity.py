"""Parity of two runtimes on the same inputs, and the first layer at which they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from torch import Tensor

from edgekd.files import temporary_folder
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import Task

STEPS = 255
CLASSIFICATION = Classification(())


@dataclass(frozen=True)
class Parity:
    """The agreement of two sets of logits.

    Attributes:
        agreement: share of samples with the same prediction.
        max_steps, mean_steps: differences in quantisation steps, 1/255 of the range of the reference's logits.
    """

    agreement: float
    max_abs_difference: float
    n: int
    max_steps: float
    mean_steps: float


def parity(reference: Tensor, logits: Tensor, task: Task = CLASSIFICATION) -> Parity:
    """Compare ``logits`` (N, ...) with those of a ``reference`` on the same samples, which predict for ``task``."""
    difference = (reference - logits).abs()
    step = max(float(reference.max() - reference.min()), 1e-12) / STEPS
    largest, mean = float(difference.max()), float(difference.mean())
    rows = (task.to_rows({LOGITS: each.numpy()}) for each in (reference, logits))
    agreement = float(task.agree(*map(task.from_rows, rows)).mean())
    return Parity(agreement, largest, len(reference), largest / step, mean / step)


@dataclass(frozen=True)
class Mismatch:
    """The first quantised activation whose codes a runtime's optimisations change by more than ``bound`` steps."""

    layer: str
    steps: float
    bound: float


# Runs a file on inputs (N, ...) and returns its first output (N, ...).
Outputs = Callable[[Path, np.ndarray], np.ndarray]


def first_mismatch(
    path: Path, inputs: np.ndarray, bound: float = 1.5, outputs: Outputs | None = None
) -> Mismatch | None:
    """Find where optimised ONNX Runtime departs from the file's arithmetic; return None if it does not.

    The file is cut off behind quantised activations, by bisection, and run with and (on this machine) without
    optimisations. The first cut whose codes differ by more than ``bound`` is returned. A difference of one step is a
    tie rounded the other way. More means saturated 8-bit products, a wrong scale, or a fusion that computes something
    else.

    Args:
        inputs: (N, ...), as the file's input takes them.
        outputs: runs a cut file with optimisations, by default here;
            :meth:`edgekd.devices.targets.RemoteTarget.outputs` does it on a device.
    """
    outputs = outputs or optimised_outputs
    model = onnx.load(path)
    steps = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    low, high = 0, len(steps)
    found: Mismatch | None = None
    while low < high:
        middle = (low + high) // 2
        difference = _difference(model, steps[middle].output[0], inputs, outputs)
        if difference > bound:
            found, high = Mismatch(_layer(model, steps[middle].input[0]), difference, bound), middle
        else:
            low = middle + 1
    return found


def optimised_outputs(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Run ``path`` in ONNX Runtime on this machine with all optimisations, and return its first output."""
    return _run(path, inputs, "ORT_ENABLE_ALL")


def _difference(model: ModelProto, codes: str, inputs: np.ndarray, outputs: Outputs) -> float:
    cut = ModelProto()
    cut.CopyFrom(model)
    del cut.graph.output[:]
    step = next(node for node in model.graph.node if codes in node.output)
    zero_point = next(tensor for tensor in model.graph.initializer if tensor.name == step.input[2])
    cut.graph.output.append(onnx.helper.make_tensor_value_info(codes, zero_point.data_type, None))
    with temporary_folder() as folder:
        path = folder / "cut.onnx"
        path.write_bytes(cut.SerializeToString())
        reference, found = (run(path, inputs).astype(np.int32) for run in (_plain_outputs, outputs))
    return float(np.abs(reference - found).max(initial=0))


def _plain_outputs(path: Path, inputs: np.ndarray) -> np.ndarray:
    return _run(path, inputs, "ORT_DISABLE_ALL")


def _run(path: Path, inputs: np.ndarray, level: str) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    result: Sequence[np.ndarray] = session.run(None, {session.get_inputs()[0].name: inputs})
    return result[0]


def _layer(model: ModelProto, activation: str) -> str:
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(activation)
    while node is not None and node.op_type in ("Relu", "Clip"):
        node = makers.get(node.input[0])
    return node.name if node is not None else activation
