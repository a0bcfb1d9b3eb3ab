"""What ONNX Runtime's profiler adds to every kernel that it reads: some microseconds, as long as a small layer."""

from edgekd.bench.runtimes.onnxruntime.turns import Turns
from edgekd.prune.latency.kernels import REFERENCE, Setting, by_layer
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.readings import fast, readings

SMALL = Layer("conv", 16, 16, ((4, 4),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), activation=True)
LAYERS, TURNS, WARMUP = 32, 40, 10
# The others take its weights out of the cache: the second of its own inferences counts.
ORDER = ("reference", "small", "plain", "plain")


def overhead(setting: Setting) -> float:
    """As a multiple of the reference layer's reading.

    It is how far the kernels of small layers together are above an inference that nothing records, for each kernel.
    """
    with setting.files({"small": [SMALL] * LAYERS, "reference": [REFERENCE]}) as files:
        models = {**files, "plain": files["small"]}
        turns = Turns(models, ORDER, files, setting.threads, WARMUP, TURNS, TURNS)
        taken = setting.target.turns(turns)
    kernels = readings(taken, turns, "small")
    reference_ms = by_layer(readings(taken, turns, "reference"))[0]
    plain_ms = fast(taken.times_ns[:, -1]) / 1e6
    excess_ms = (sum(kernel.ms for kernel in kernels) - plain_ms) / len(kernels)
    return max(excess_ms, 0.0) / reference_ms
