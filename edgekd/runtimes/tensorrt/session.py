"""A serialized engine in TensorRT or TensorRT for RTX, releases 10 and 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.agent.inputs import values
from edgekd.agent.session import Session
from edgekd.errors import MeasurementError
from edgekd.runtimes.pytorch.session import copy, provider
from edgekd.runtimes.tensorrt.adapter import errors_of, library, version
from edgekd.runtimes.tensorrt.record import incompatibility

if TYPE_CHECKING:
    from edgekd.agent.clock import Call

DTYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
}


class TensorRTSession(Session):
    """A loaded engine file. An engine is native code that runs as you: load only those that you built.

    An engine belongs to one release of TensorRT and one kind of GPU; where edgekd built it, that is checked before
    it is loaded. The workload's arg ``cuda_graph: true`` replays it as one CUDA graph, captured in the first run;
    ``providers`` says so.
    """

    def load(self) -> None:
        path = self._path()
        self.trt = library(MeasurementError)
        if not torch.cuda.is_available():
            raise MeasurementError("TensorRT needs an NVIDIA GPU and finds none here; time the ONNX file on the CPU")
        if reason := incompatibility(path):
            raise MeasurementError(reason)
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.stream = torch.cuda.Stream(self.device)
        self._logger = errors_of(self.trt)
        runtime = self.trt.Runtime(self._logger)
        self.engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise MeasurementError(
                f"{path} does not load in {version(self.trt)}{self._logger.last()}; an engine runs only in the "
                "release of TensorRT and on the kind of GPU that it was built for: build it here"
            )
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise MeasurementError(f"{path} loads but gets no execution context{self._logger.last()}")
        self.names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self.input_names = [name for name in self.names if self._is_input(name)]
        self.providers = [version(self.trt), provider(self.device)]
        if self._uses_graph():
            self.providers.append("CUDA graph")

    def _is_input(self, name: str) -> bool:
        return bool(self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT)

    def _path(self) -> Path:
        path, device = Path(self.workload.model), self.workload.device
        if device != "cuda":
            raise MeasurementError(f"TensorRT runs on cuda, not on {device!r}; give --device cuda")
        if not path.is_file():
            raise MeasurementError(f"no such file: {path}; give an engine built by trtexec --saveEngine")
        return path

    def _uses_graph(self) -> bool:
        unknown = set(self.workload.args) - {"cuda_graph"}
        if unknown:
            raise MeasurementError(f"TensorRT takes no argument {sorted(unknown)[0]!r}; args: cuda_graph")
        return bool(self.workload.args.get("cuda_graph", False))

    def place_inputs(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        names, inputs = self.names, self.input_names
        for name in inputs:
            self._set_shape(name, first=name == inputs[0])
        if unknown := self.context.infer_shapes():
            raise MeasurementError(f"{self.workload.model}: the shape of {', '.join(unknown)} stays open; give --shape")
        self.tensors = {name: self._buffer(name, random) for name in names}
        self.inputs = [self.tensors[name] for name in inputs]
        self.results = [self.tensors[name] for name in names if name not in inputs]
        self.batch = self.inputs[0].shape[0] if self.inputs and self.inputs[0].ndim else 1
        self._graph: torch.cuda.CUDAGraph | None = None

    def _set_shape(self, name: str, first: bool) -> None:
        if self.engine.is_shape_inference_io(name):
            raise MeasurementError(
                f"{self.workload.model}: input {name!r} holds a shape, which edgekd cannot make; build with fixed "
                "shapes"
            )
        own = tuple(self.engine.get_tensor_shape(name))
        if -1 in own[1:]:
            # the sizes that its kernels were chosen for
            _, usual, _ = self.engine.get_tensor_profile_shape(name, 0)
            own = (own[0], *tuple(usual)[1:])
        shape = wanted_shape(self.workload.model, name, own, self.workload.shape if first else None, self.batch)
        self._take_shape(name, shape)

    def _take_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if not self.context.set_input_shape(name, shape):
            low, _, high = (tuple(dims) for dims in self.engine.get_tensor_profile_shape(name, 0))
            raise MeasurementError(
                f"{self.workload.model} does not take {shape} as {name!r}: it was built for {low} to {high}; "
                "give another --shape or --batch"
            )

    def _buffer(self, name: str, random: np.random.Generator) -> Tensor:
        shape = tuple(self.context.get_tensor_shape(name))
        kind = self.engine.get_tensor_dtype(name).name
        vectorized = self.engine.get_tensor_vectorized_dim(name) != -1
        if kind not in DTYPES or vectorized or min(shape, default=0) < 0:
            what = f"{kind}{' in vectors' if vectorized else ''} of shape {shape}"
            raise MeasurementError(
                f"{self.workload.model}: tensor {name!r} is {what}, which edgekd cannot make; build the engine with "
                f"linear inputs and outputs of fixed shape in one of {', '.join(DTYPES)}"
            )
        tensor = drawn(shape, DTYPES[kind], random).to(self.device)
        self._bind(name, tensor)
        return tensor

    def _bind(self, name: str, tensor: Tensor) -> None:
        if not self.context.set_tensor_address(name, tensor.data_ptr()):
            raise MeasurementError(f"{self.workload.model}: {name!r} takes no address{self._logger.last()}")

    def run(self) -> list[Tensor]:
        if self._uses_graph():
            graph = self._graph or self._capture()
            with torch.cuda.stream(self.stream):
                graph.replay()
        else:
            self.enqueue()
        self.stream.synchronize()
        return self.results

    def outputs(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the engine's outputs for ``feeds``. What :meth:`run` was given is bound anew afterwards.

        Raises:
            MeasurementError: the engine was built for other shapes, or does not run.
        """
        given = {name: torch.from_numpy(feeds[name]).to(self.device).contiguous() for name in self.input_names}
        for name, tensor in given.items():
            self._take_shape(name, tuple(tensor.shape))
        made = {name: self._empty(name) for name in self.names if name not in given}
        for name, tensor in {**given, **made}.items():
            self._bind(name, tensor)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))  # which may still be copying the inputs
        self.enqueue()
        self.stream.synchronize()
        for name, tensor in getattr(self, "tensors", {}).items():
            if name in given:
                self._take_shape(name, tuple(tensor.shape))
            self._bind(name, tensor)
        floats = {name: each.float() if each.dtype == torch.bfloat16 else each for name, each in made.items()}
        return {name: each.cpu().numpy() for name, each in floats.items()}

    def _empty(self, name: str) -> Tensor:
        dtype = DTYPES[self.engine.get_tensor_dtype(name).name]
        return torch.empty(tuple(self.context.get_tensor_shape(name)), dtype=dtype, device=self.device)

    def enqueue(self) -> None:
        if not self.context.execute_async_v3(self.stream.cuda_stream):
            raise MeasurementError(f"{self.workload.model} loads but does not run{self._logger.last()}")

    def _capture(self) -> torch.cuda.CUDAGraph:
        self.enqueue()  # what the engine allocates at its first run must not be captured
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.enqueue()
        self._graph = graph
        return graph

    def transfers(self) -> dict[str, Call]:
        sent = [tensor.cpu().pin_memory() for tensor in self.inputs]
        arrived = [tensor.cpu().pin_memory() for tensor in self.results]
        return {
            "in": lambda: copy(sent, self.inputs, self.device),
            "out": lambda: copy(self.results, arrived, self.device),
        }


def wanted_shape(model: str, name: str, own: Sequence[int], given: Sequence[int] | None, batch: int) -> tuple[int, ...]:
    """Return the input's shape; ``own`` is the engine's, with -1 where it is open, ``given`` is that of --shape."""
    shape = list(own if given is None else given)
    if own and own[0] == -1 and shape[0] in (-1, 1):
        shape[0] = batch
    if shape and batch not in (1, shape[0]):
        raise MeasurementError(f"{model} fixes its batch at {shape[0]}, not {batch}; leave out --batch")
    if min(shape, default=0) < 0:
        raise MeasurementError(
            f"{model}: input {name!r} has the shape {tuple(own)}, open beyond its batch; give --shape"
        )
    return tuple(shape)


def drawn(shape: tuple[int, ...], dtype: torch.dtype, random: np.random.Generator) -> Tensor:
    """Return a tensor of the values that a file's input of that type is given; NumPy does not have all of the types."""
    known = np.float32 if dtype.is_floating_point else str(dtype).removeprefix("torch.")
    return torch.from_numpy(np.asarray(values(shape, np.dtype(known), random))).to(dtype)


SESSION = TensorRTSession
