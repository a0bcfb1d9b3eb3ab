"""An ONNX file in OpenVINO on the CPU, with every setting that affects its times and its arithmetic made explicit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.agent.inputs import Declared, Usual, make_examples
from edgekd.agent.session import Session
from edgekd.errors import MeasurementError
from edgekd.runtimes.openvino.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

try:
    import openvino
except ImportError as missing:
    raise MeasurementError(
        f"OpenVINO is not installed here ({missing}); pip install 'edgekd[openvino]' brings it"
    ) from missing

# By itself OpenVINO computes float layers in bfloat16 where the processor can.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
METADATA = "framework"


class OpenVinoSession(Session):
    """An OpenVINO session on the CPU, with fixed shapes for its examples: with an open batch it is slower.

    The workload's ``precision`` is that of what the file has in float32: float32 if left out, or bfloat16. With
    ``profile_to`` the times of the nodes are recorded, in memory.
    """

    def __init__(self, *args: Any, profile_to: Any = None, optimized_to: Any = None, **rest: Any):
        if optimized_to:
            raise MeasurementError("OpenVINO writes no optimised graph: its nodes are in the profile")
        self.is_recorded = bool(profile_to)
        self.compiled: Any = None
        super().__init__(*args, **rest)

    def load(self) -> None:
        path = Path(self.workload.model)
        if not path.is_file():
            raise MeasurementError(f"no such file: {path}; give an .onnx file or a bundle folder")
        if self.workload.device != "cpu":
            raise MeasurementError(f"edgekd runs OpenVINO on the CPU, not on {self.workload.device}")
        if self.workload.args:
            raise MeasurementError(f"OpenVINO takes no argument {sorted(self.workload.args)[0]!r}")
        self.precision = self._precision()
        try:
            self._core = openvino.Core()
            self._model = self._core.read_model(str(path))
        except RuntimeError as error:
            raise self._refusal(error) from error
        self.providers = ["CPU"]
        self.input_names = [port.any_name for port in self._model.inputs]
        self.declared = declared_in(self._model, self.workload.model)

    def _precision(self) -> str:
        asked = self.workload.precision or "float32"
        if asked not in PRECISIONS:
            raise MeasurementError(f"OpenVINO computes in {' or '.join(PRECISIONS)} on a CPU, not in {asked}")
        return PRECISIONS[asked]

    def _compile(self) -> None:
        """Compile for one stream, and bind no thread to a core that another process may hold."""
        settings = {
            # 0: as many as there are cores.
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": self.precision,
            "PERF_COUNT": self.is_recorded,
        }
        try:
            self.compiled = self._core.compile_model(self._model, "CPU", settings)
        except RuntimeError as error:
            raise self._refusal(error) from error

    def place_inputs(self, seed: int) -> None:
        usual = Usual.in_metadata(metadata_of(self._model), self.workload.model)
        examples = make_examples(self.declared, self.workload, self.batch, seed, usual)
        self.feeds, self.sizes, self.batch = examples.feeds, examples.sizes, examples.batch
        try:
            self._model.reshape({name: list(value.shape) for name, value in self.feeds.items()})
        except RuntimeError as error:
            raise self._refusal(error) from error
        self._recording = Recording(self) if self.is_recorded else None
        self.compile_again()

    def compile_again(self) -> None:
        """Compile the model, and put the inputs in place: the times of its nodes begin anew."""
        self._compile()
        self.request = self.compiled.create_infer_request()
        for name, value in self.feeds.items():
            self.request.set_tensor(name, openvino.Tensor(value, shared_memory=True))

    def run(self) -> Any:
        try:
            return self._infer() if self._recording is None else self._recording.run(self._infer)
        except RuntimeError as error:
            sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
            chosen = f" with {sizes} (--size gives other sizes)" if sizes else ""
            raise MeasurementError(
                f"{self.workload.model} loads but does not run{chosen}: {one_line(error)}"
            ) from error

    def _infer(self) -> Any:
        # start_async() would hand the work to another thread.
        return self.request.infer(share_outputs=True)

    def end_profiling(self) -> list[Any]:
        """Return the events of the recorded inferences, a Chrome trace."""
        if self._recording is None:
            return super().end_profiling()
        return self._recording.to_json()

    def outputs(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the file's outputs for ``feeds``.

        Raises:
            MeasurementError: OpenVINO refuses the inputs.
        """
        if self.compiled is None:
            self._compile()
        try:
            found = self.compiled(dict(feeds))
        except (RuntimeError, TypeError) as error:
            raise MeasurementError(f"{self.workload.model} does not run on these inputs: {one_line(error)}") from error
        return {port.any_name: found[port].copy() for port in self.compiled.outputs}

    def _refusal(self, error: Exception) -> MeasurementError:
        version = openvino.__version__.split("-")[0]
        return MeasurementError(f"{self.workload.model} does not load in OpenVINO {version}: {one_line(error)}")


def declared_in(model: Any, path: str) -> Sequence[Declared]:
    """Return the inputs of ``model``; OpenVINO keeps no names of open dimensions, and those of the file are read."""
    found = []
    for port in model.inputs:
        dims: list[Any] = [dim.get_length() if dim.is_static else None for dim in port.get_partial_shape()]
        found.append(Declared(port.any_name, dims, port.get_element_type().to_dtype().name))
    if not any(None in each.dims for each in found):
        return found
    named = _names_in(path)
    return [Declared(each.name, _named(each.dims, named.get(each.name, ())), each.dtype) for each in found]


def _named(dims: Sequence[Any], names: Sequence[Any]) -> Sequence[Any]:
    open_batch = [name or ("batch" if index == 0 else None) for index, name in enumerate(names)] or ["batch"]
    known = [*open_batch, *[None] * len(dims)]
    return [known[index] if dim is None else dim for index, dim in enumerate(dims)]


def _names_in(path: str) -> dict[str, Sequence[Any]]:
    """Return the shapes of inputs as an ONNX file names them; empty where the package onnx is not installed."""
    try:
        import onnx
    except ImportError:
        return {}
    inputs = onnx.load(path, load_external_data=False).graph.input
    return {
        each.name: [dim.dim_value or dim.dim_param or None for dim in each.type.tensor_type.shape.dim]
        for each in inputs
    }


def metadata_of(model: Any) -> dict[str, str]:
    """Return the metadata of the ONNX file that ``model`` was read from."""
    return dict(model.get_rt_info([METADATA]).value) if model.has_rt_info([METADATA]) else {}


def one_line(error: Exception, limit: int = 300) -> str:
    """Return OpenVINO's last sentence: those before it say where in its sources it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


SESSION = OpenVinoSession
