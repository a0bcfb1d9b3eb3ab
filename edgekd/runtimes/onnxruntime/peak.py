"""Peak multiply-accumulates per second, as ONNX Runtime's own kernels reach them.

Measured with products of square matrices and 3×3 convolutions, in float32 and with uint8 activations by int8 weights.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.runtimes.onnxruntime.session import CPU, session_options

MATRICES = (256, 512)
CONVOLUTIONS = ((128, 28), (256, 14))  # channels and pixels across
SECONDS = 0.15
QUANTISED = ("x", "scale", "zero", "w", "scale", "weight_zero", "scale", "zero")


class Kernel(NamedTuple):
    op: str
    precision: str
    inputs: tuple[str, ...]
    pads: tuple[int, ...] = ()


PADDED = (1, 1, 1, 1)
PRODUCTS = (
    Kernel("MatMul", "float32", ("x", "w")),
    Kernel("MatMulInteger", "int8", ("x", "w", "zero", "weight_zero")),
    Kernel("QLinearMatMul", "int8", QUANTISED),
)
CONVOLVING = (Kernel("Conv", "float32", ("x", "w"), PADDED), Kernel("QLinearConv", "int8", QUANTISED, PADDED))


class PeakWork(NamedTuple):
    kernel: Kernel
    shape: tuple[int, ...]
    weight: tuple[int, ...]

    @property
    def macs(self) -> int:
        return prod(self.shape) * prod(self.weight) // self.weight[0]


def measure_peaks(threads: int) -> dict[str, float]:
    """Return GMAC/s by precision, from the fastest inference of the fastest kernel."""
    peaks: dict[str, float] = {}
    for work in works():
        precision = work.kernel.precision
        peaks[precision] = max(peaks.get(precision, 0.0), rate(work, threads))
    return peaks


def works() -> Iterator[PeakWork]:
    for size in MATRICES:
        yield from (PeakWork(kernel, (size, size), (size, size)) for kernel in PRODUCTS)
    for channels, across in CONVOLUTIONS:
        shape, weight = (1, channels, across, across), (channels, channels, 3, 3)
        yield from (PeakWork(kernel, shape, weight) for kernel in CONVOLVING)


def rate(work: PeakWork, threads: int) -> float:
    """Return GMAC/s of the shortest of many inferences: other processes can only make one longer."""
    session = onnxruntime.InferenceSession(model_of(work), session_options(threads), providers=[CPU])
    kind = np.float32 if work.kernel.precision == "float32" else np.uint8
    feeds = {"x": np.random.default_rng(0).integers(0, 128, work.shape).astype(kind)}

    def call() -> Any:
        return session.run(None, feeds)

    warm_up(call, SECONDS / 3, 3)
    with collector_off():
        return work.macs / min(collect(call, SECONDS, 5))


def model_of(work: PeakWork) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    kernel, is_float = work.kernel, work.kernel.precision == "float32"
    kind = TensorProto.FLOAT if is_float else TensorProto.UINT8
    result = TensorProto.INT32 if kernel.op == "MatMulInteger" else kind
    attributes: Any = {"pads": kernel.pads} if kernel.pads else {}
    graph = helper.make_graph(
        [helper.make_node(kernel.op, kernel.inputs, ["y"], **attributes)],
        "peak",
        [helper.make_tensor_value_info("x", kind, work.shape)],
        [helper.make_tensor_value_info("y", result, None)],
        [numpy_helper.from_array(value, name) for name, value in constants(work).items() if name in kernel.inputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def constants(work: PeakWork) -> dict[str, NDArray[Any]]:
    kind = np.float32 if work.kernel.precision == "float32" else np.int8
    return {
        "w": np.random.default_rng(1).integers(-64, 64, work.weight).astype(kind),
        "scale": np.array(0.01, np.float32),
        "zero": np.array(0, np.uint8),
        "weight_zero": np.array(0, np.int8),
    }
