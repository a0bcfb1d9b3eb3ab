"""Whether two runtimes answer alike, and the layer from which on they do not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from torch import Tensor

from edgekd.files import temporary_folder

STEPS = 255


@dataclass(frozen=True)
class Parity:
    """``agreement``: share of samples with the same class; differences of their logits.

    A step is what 8 bits resolve of our logits: a 255th of the range from the smallest to the largest.
    """

    agreement: float
    max_abs_difference: float
    n: int
    max_steps: float
    mean_steps: float


def parity(ours: Tensor, theirs: Tensor) -> Parity:
    """Compares logits (N, classes) of the same samples."""
    agreement = float((ours.argmax(1) == theirs.argmax(1)).double().mean())
    difference = (ours - theirs).abs()
    step = max(float(ours.max() - ours.min()), 1e-12) / STEPS
    return Parity(
        agreement, float(difference.max()), len(ours), float(difference.max()) / step, float(difference.mean()) / step
    )


@dataclass(frozen=True)
class Departure:
    """The first rounded activation whose codes a runtime's optimisations moved by more than ``bound`` steps."""

    layer: str
    steps: float
    bound: float


# The first output (N, ...) that a file gives for inputs (N, ...).
Outputs = Callable[[Path, np.ndarray], np.ndarray]


def first_departure(
    path: Path, inputs: np.ndarray, bound: float = 1.5, outputs: Outputs | None = None
) -> Departure | None:
    """Where ONNX Runtime, optimised, leaves the arithmetic that the file describes; ``None`` where it does not.

    The file is cut off behind one rounded activation after another, by halves, and run with optimisations and, here,
    without: the first cut whose codes differ by more than ``bound`` is the answer. One step is a tie rounded the
    other way; more is 8-bit products that saturate, a scale read wrongly, a fusion that computes something else.

    Args:
        inputs: of shape (N, ...), as the file's input takes them.
        outputs: runs a cut file with optimisations, by default here;
            :meth:`edgekd.devices.targets.RemoteTarget.outputs` does it on a device.
    """
    there = outputs or optimised_outputs
    model = onnx.load(path)
    steps = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    low, high = 0, len(steps)
    found: Departure | None = None
    while low < high:
        middle = (low + high) // 2
        difference = _difference(model, steps[middle].output[0], inputs, there)
        if difference > bound:
            found, high = Departure(_layer(model, steps[middle].input[0]), difference, bound), middle
        else:
            low = middle + 1
    return found


def optimised_outputs(path: Path, inputs: np.ndarray) -> np.ndarray:
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
        told, found = (run(path, inputs).astype(np.int32) for run in (_plain_outputs, outputs))
    return float(np.abs(told - found).max(initial=0))


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
