"""An ONNX file in ONNX Runtime on the CPU."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekd.bundle.manifest import Tensor
from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess

BATCH = 32
EXTERNAL = "session.model_external_initializers_file_folder_path"
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
}  # fmt: skip


class BundleSession:
    """A loaded model, with its ``inputs`` and ``outputs`` in Open Inference Protocol v2 terms."""

    def __init__(self, model: Path | bytes, threads: int = 0, name: str | None = None):
        """Load ``model``; ``name`` stands in messages for one that is given by its bytes."""
        self.runtime = load(model, threads, name or (str(model) if isinstance(model, Path) else "the model"))
        self.inputs, self.outputs = described(self.runtime.get_inputs()), described(self.runtime.get_outputs())
        shape = self.inputs[0].shape if self.inputs else ()
        self.fixed_batch = shape[0] if shape and shape[0] > 0 else None

    def run(self, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
        """Return the first output for ``inputs`` (N, ...), ``batch`` or the model's fixed batch size at a time."""
        step = self.fixed_batch or batch
        parts = [self.run_once(inputs[start : start + step]) for start in range(0, len(inputs), step)]
        return np.concatenate(parts)

    def run_once(self, inputs: np.ndarray) -> np.ndarray:
        missing = (self.fixed_batch or len(inputs)) - len(inputs)
        filled = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs
        (output,) = self.runtime.run([self.outputs[0].name], {self.inputs[0].name: filled})
        return np.asarray(output)[: len(inputs)]


def load(model: Path | bytes, threads: int, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if isinstance(model, bytes):
        # Weights that the file keeps elsewhere would be looked for in the working directory.
        options.add_session_config_entry(EXTERNAL, os.devnull)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise BundleError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error}") from error


def described(nodes: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            each.name,
            DATATYPES.get(each.type.removeprefix("tensor(").removesuffix(")"), each.type),
            tuple(size if isinstance(size, int) and size > 0 else -1 for size in each.shape),
        )
        for each in nodes
    )


def takes(tensor: Tensor, preprocess: Preprocess) -> bool:
    """Return whether ``preprocess`` gives what a model takes at ``tensor``."""
    shape = tensor.shape[1:]
    if tensor.datatype != "FP32" or len(shape) != len(preprocess.shape):
        return False
    return all(size in (-1, wanted) for size, wanted in zip(shape, preprocess.shape, strict=True))
