"""A model in OpenVINO, timed by the loop of edgekd."""

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from edgekd.agent.session import Session
from edgekd.errors import MeasurementError


class OpenVinoSession(Session):
    """``workload.shape`` fixes the first input's shape, batch included."""

    def load(self) -> None:
        core = openvino.Core()
        model = core.read_model(self.workload.model)
        if self.workload.shape is None:
            raise MeasurementError(f"{self.workload.model}: OpenVINO is timed at one shape; give --shape")
        model.reshape(list(self.workload.shape))
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": self.workload.precision or "f32",
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self.input_names = [each.any_name for each in model.inputs]
        self.providers = ["CPU"]

    def place_inputs(self, seed: int) -> None:
        assert self.workload.shape is not None
        values = np.random.default_rng(seed).random(self.workload.shape, dtype=np.float32)
        self._request.set_input_tensor(openvino.Tensor(values))
        self.batch = self.workload.shape[0]

    def run(self) -> object:
        # The call that benchmark_app makes too; start_async() would hand the work to another thread.
        return self._request.infer(share_outputs=True)

    def outputs(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = self._request.infer(dict(feeds))
        return {port.any_name: np.array(values) for port, values in found.items()}

    def binding_ns(self, runs: int = 500) -> float:
        """What a caller waits for beyond OpenVINO's own figure, which is taken below its Python binding."""
        beyond = []
        for _ in range(runs):
            start = perf_counter_ns()
            self.run()
            beyond.append(perf_counter_ns() - start - 1e6 * self._request.latency)
        return float(np.median(beyond))
