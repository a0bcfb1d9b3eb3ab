"""An ONNX file in ONNX Runtime on the CPU, with everything that colours a timing set explicitly."""

from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgekd.errors import MeasurementError

PROVIDERS = ["CPUExecutionProvider"]

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

Feeds = dict[str, NDArray[Any]]


class OnnxSession:
    """One model, loaded; ``load_ms`` is what that took.

    ``shape`` is the shape of the first input, batch included, where the file leaves more open than the batch.
    """

    def __init__(self, path: Path, threads: int = 1, profile: bool = False, shape: tuple[int, ...] | None = None):
        self.path = Path(path)
        self.threads = threads
        self.shape = shape
        if not self.path.is_file():
            raise MeasurementError(f"no such file: {self.path}; give an .onnx file or a bundle folder")
        started = perf_counter_ns()
        self._session = self._load(session_options(threads, profile))
        self.load_ms = (perf_counter_ns() - started) / 1e6
        self.providers: list[str] = self._session.get_providers()
        if self.providers != PROVIDERS:
            raise MeasurementError(f"{self.path} runs on {self.providers}, not on {PROVIDERS}: not measured")

    def _load(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=PROVIDERS)
        except Exception as error:  # ONNX Runtime's errors share no base of their own
            raise MeasurementError(
                f"{self.path} does not load in ONNX Runtime {onnxruntime.__version__}: {one_line(error)}"
            ) from error

    @property
    def input_name(self) -> str:
        return str(self._session.get_inputs()[0].name)

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        shape = self._shape_of(self._session.get_inputs()[0], batch)
        if batch not in (1, *shape[:1]):
            raise MeasurementError(f"{self.path} fixes its batch at {shape[0]}, not {batch}; leave out --batch")
        return shape

    def _shape_of(self, node: Any, batch: int) -> tuple[int, ...]:
        if self.shape is not None and node.name == self.input_name:
            return self.shape
        dims = list(node.shape)
        if dims and not isinstance(dims[0], int):
            dims[0] = batch
        if not all(isinstance(dim, int) for dim in dims):
            raise MeasurementError(
                f"{self.path}: input {node.name!r} has the shape {node.shape}, open beyond its batch; "
                "give the first input's with --shape, such as --shape 1,3,224,224, or fix it in the file"
            )
        return tuple(dims)

    def example(self, batch: int = 1, seed: int = 0) -> Feeds:
        """Random where an input is float or 8 bits wide, zeros (a valid index of anything) elsewhere."""
        random = np.random.default_rng(seed)
        return {node.name: self._values(node, batch, random) for node in self._session.get_inputs()}

    def _values(self, node: Any, batch: int, random: np.random.Generator) -> NDArray[Any]:
        if node.type not in DTYPES:
            known = ", ".join(sorted(DTYPES))
            raise MeasurementError(f"{self.path}: input {node.name!r} is a {node.type}; edgekd can make {known}")
        shape, dtype = self._shape_of(node, batch), DTYPES[node.type]
        if np.issubdtype(dtype, np.floating):
            return random.random(shape, dtype=np.float32).astype(dtype)
        if dtype in (np.uint8, np.int8):
            return random.integers(0, 128, shape, dtype=dtype)
        return np.zeros(shape, dtype)

    def run(self, feeds: Feeds) -> list[Any]:
        try:
            return self._session.run(None, feeds)
        except Exception as error:
            raise MeasurementError(f"{self.path} loads but does not run: {one_line(error)}") from error

    def first_run_ms(self, feeds: Feeds) -> float:
        """Runs once and times it: the first inference allocates, and is no part of the steady figure."""
        started = perf_counter_ns()
        self.run(feeds)
        return (perf_counter_ns() - started) / 1e6

    def end_profiling(self) -> Path:
        """The profile's JSON, which ONNX Runtime writes to the working directory."""
        return Path(self._session.end_profiling())


def session_options(threads: int, profile: bool) -> onnxruntime.SessionOptions:
    if threads < 1:
        raise MeasurementError(f"{threads} threads cannot run anything; give --threads 1 or more")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_profiling = profile
    options.log_severity_level = 3
    return options


def one_line(error: Exception, limit: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
