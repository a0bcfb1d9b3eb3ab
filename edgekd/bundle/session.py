"""An ONNX file in ONNX Runtime on the CPU."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekd.bundle.manifest import Tensor
from edgekd.errors import BundleError, first_line
from edgekd.preprocess import Preprocess

BATCH = 32
EXTERNAL = "session.model_external_initializers_file_folder_path"
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
}  # fmt: skip

# Samples (N, ...): of one input an array, of several arrays by their names.
Inputs = np.ndarray | Mapping[str, np.ndarray]


class BundleSession:
    """A loaded model, with its ``inputs`` and ``outputs`` in Open Inference Protocol v2 terms."""

    def __init__(self, model: Path | bytes, threads: int = 0, name: str | None = None, optimised: bool = True):
        """Load ``model``; ``name`` stands in messages for one that is given by its bytes.

        Without ``optimised`` a file for another processor computes step by step what it says, and takes longer.
        """
        self.name = name or (str(model) if isinstance(model, Path) else "the model")
        self.runtime = load(model, threads, self.name, optimised)
        self.inputs, self.outputs = described(self.runtime.get_inputs()), described(self.runtime.get_outputs())
        shape = self.inputs[0].shape if self.inputs else ()
        self.fixed_batch = shape[0] if shape and shape[0] > 0 else None

    @property
    def dimensions(self) -> dict[str, Sequence[int | str | None]]:
        """Return the dimensions of each input, open ones by their names in the file, None without a name."""
        return {each.name: each.shape for each in self.runtime.get_inputs()}

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the metadata in the model's file."""
        found: Mapping[str, str] = self.runtime.get_modelmeta().custom_metadata_map
        return found

    def run(self, inputs: Inputs, batch: int = BATCH, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Return the outputs ``names`` (N, ...), by default all, for ``inputs`` (N, ...).

        ``batch`` samples are run at a time, or the model's fixed batch size.

        Raises:
            BundleError: ONNX Runtime refuses the inputs, or an output has no row for each sample.
        """
        feeds, names = self.by_name(inputs), names or [each.name for each in self.outputs]
        step, n = self.fixed_batch or batch, len(next(iter(feeds.values())))
        parts = [
            self.run_once({name: each[start : start + step] for name, each in feeds.items()}, names)
            for start in range(0, n, step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def by_name(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the arrays by their names, of which a bare one is the first input's."""
        return dict(inputs) if isinstance(inputs, Mapping) else {self.inputs[0].name: inputs}

    def run_once(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        n = len(next(iter(feeds.values())))
        size = self.fixed_batch or n
        filled = {name: np.concatenate([each, np.repeat(each[-1:], size - n, axis=0)]) for name, each in feeds.items()}
        try:
            found = dict(zip(names, map(np.asarray, self.runtime.run(names, filled)), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise BundleError(
                f"{self.name}: ONNX Runtime cannot run it on these inputs: {first_line(error)}"
            ) from error
        for name, each in found.items():
            if each.shape[:1] != (size,):
                raise BundleError(
                    f"{self.name}: output {name!r} is {each.shape}, expected a row for each of {size} samples"
                )
        return {name: each[:n] for name, each in found.items()}


def load(model: Path | bytes, threads: int, name: str, optimised: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
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


def why_unfit(inputs: Sequence[Tensor], preprocess: Preprocess) -> str | None:
    """Return why a model that takes ``inputs`` does not take what ``preprocess`` gives, or None if it does."""
    if preprocess.kind == "tensors":
        odd = next((each for each in inputs if each.datatype not in DATATYPES.values() or not each.shape), None)
        return f"input {described_as(odd)}, expected numbers with the batch in front" if odd else None
    if len(inputs) != 1:
        return f"takes {len(inputs)} inputs, the preprocessing gives one"
    if not takes(inputs[0], preprocess):
        return f"input {described_as(inputs[0])}, the preprocessing gives FP32 {[-1, *preprocess.shape]}"
    return None


def described_as(tensor: Tensor) -> str:
    return f"{tensor.name!r} is {tensor.datatype} {list(tensor.shape)}"


def takes(tensor: Tensor, preprocess: Preprocess) -> bool:
    """Return whether ``preprocess`` gives what a model takes at ``tensor``."""
    shape = tensor.shape[1:]
    if tensor.datatype != "FP32" or len(shape) != len(preprocess.shape):
        return False
    return all(size in (-1, wanted) for size, wanted in zip(shape, preprocess.shape, strict=True))
