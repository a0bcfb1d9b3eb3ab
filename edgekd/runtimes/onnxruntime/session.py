"""An ONNX file in ONNX Runtime, with every setting that affects timing made explicit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from edgekd.agent.inputs import Declared, Usual, make_examples
from edgekd.agent.session import Session
from edgekd.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekd.agent.clock import Call

CPU = "CPUExecutionProvider"
PROVIDERS = {
    ("onnxruntime", "cpu"): CPU,
    ("onnxruntime", "cuda"): "CUDAExecutionProvider",
    ("onnxruntime-tensorrt", "cuda"): "TensorrtExecutionProvider",
}
# Products of float32 are IEEE float32, as in PyTorch here: CUDA's provider would take TF32.
OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxSession(Session):
    """An ONNX Runtime session; ``profile_to`` is where its profile is written, less the time stamp.

    The workload's arg ``optimised: false`` computes the operators as the file has them, one by one.
    """

    def __init__(self, *args: Any, profile_to: str | Path = "", optimized_to: str | Path = "", **rest: Any):
        self.profile_to = profile_to
        self.optimized_to = optimized_to
        super().__init__(*args, **rest)

    def load(self) -> None:
        path, provider = existing(self.workload.model), self.provider()
        options = session_options(self.threads, self._is_optimised())
        if self.profile_to:
            options.enable_profiling = True
            options.profile_file_prefix = str(self.profile_to)
        if self.optimized_to:
            options.optimized_model_filepath = str(self.optimized_to)
        if provider != CPU:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[(provider, OPTIONS.get(provider, {}))]
            )
        except Exception as error:  # ONNX Runtime's errors share no base of their own
            raise MeasurementError(
                f"{path} does not load in ONNX Runtime {onnxruntime.__version__}: {one_line(error)}"
            ) from error
        nodes = self._session.get_inputs()
        self.input_names = [node.name for node in nodes]
        self.declared = [Declared(node.name, node.shape, DTYPES.get(node.type, node.type)) for node in nodes]
        self.providers = self._session.get_providers()
        if self.providers[0] != provider:
            raise MeasurementError(f"{path} runs on {self.providers}, not on {provider}: not measured")

    def _is_optimised(self) -> bool:
        unknown = set(self.workload.args) - {"optimised"}
        if unknown:
            raise MeasurementError(f"ONNX Runtime takes no argument {sorted(unknown)[0]!r}; args: optimised")
        return bool(self.workload.args.get("optimised", True))

    def provider(self) -> str:
        requested = (self.workload.runtime, self.workload.device)
        if requested not in PROVIDERS:
            known = ", ".join(f"{runtime} on {device}" for runtime, device in PROVIDERS)
            raise MeasurementError(f"{requested[0]} on {requested[1]} is not something edgekd can time; known: {known}")
        if PROVIDERS[requested] not in onnxruntime.get_available_providers():
            raise MeasurementError(
                f"{PROVIDERS[requested]} is not in this ONNX Runtime ({onnxruntime.__version__}), which has "
                f"{', '.join(onnxruntime.get_available_providers())}; 'pip install onnxruntime-gpu' brings it"
            )
        return PROVIDERS[requested]

    def place_inputs(self, seed: int) -> None:
        usual = Usual.in_metadata(self._session.get_modelmeta().custom_metadata_map, self.workload.model)
        for each in self.declared:
            if each.dtype not in DTYPES.values():
                known = ", ".join(sorted(DTYPES))
                raise MeasurementError(
                    f"{self.workload.model}: input {each.name!r} is a {each.dtype}; edgekd can make {known}"
                )
        examples = make_examples(self.declared, self.workload, self.batch, seed, usual)
        self.feeds, self.sizes, self.batch = examples.feeds, examples.sizes, examples.batch
        self._binding = self._bind() if self.workload.device != "cpu" else None

    def _bind(self) -> Any:
        binding = self._session.io_binding()
        device = self.workload.device
        self._placed = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value, device, 0) for name, value in self.feeds.items()
        }
        for name, placed in self._placed.items():
            binding.bind_ortvalue_input(name, placed)
        for node in self._session.get_outputs():
            binding.bind_output(node.name, self.workload.device)
        return binding

    def run(self) -> Any:
        try:
            if self._binding is None:
                return self._session.run(None, self.feeds)
            self._session.run_with_iobinding(self._binding)
            return self._binding.synchronize_outputs()
        except Exception as error:
            sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
            chosen = f" with {sizes} (--size gives other sizes)" if sizes else ""
            raise MeasurementError(
                f"{self.workload.model} loads but does not run{chosen}: {one_line(error)}"
            ) from error

    def outputs(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the file's outputs for ``feeds``.

        Raises:
            MeasurementError: ONNX Runtime refuses the inputs.
        """
        names = [node.name for node in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds))))  # noqa: B905 (Python 3.8)
        except Exception as error:
            raise MeasurementError(f"{self.workload.model} does not run on these inputs: {one_line(error)}") from error

    def transfers(self) -> dict[str, Call]:
        binding = self._binding
        if binding is None:
            return {}
        return {
            "in": lambda: [self._placed[name].update_inplace(value) for name, value in self.feeds.items()],
            "out": binding.copy_outputs_to_cpu,
        }

    def end_profiling(self) -> list[dict[str, Any]]:
        """Return the events of the profile, a Chrome trace."""
        events: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text())
        return events


def existing(model: str) -> Path:
    path = Path(model)
    if not path.is_file():
        raise MeasurementError(f"no such file: {path}; give an .onnx file or a bundle folder")
    return path


def session_options(threads: int, optimised: bool = True) -> onnxruntime.SessionOptions:
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return options


def one_line(error: Exception, limit: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


SESSION = OnnxSession
