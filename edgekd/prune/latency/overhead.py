"""What ONNX Runtime's profiler adds to every kernel that it reads: some microseconds, as long as a small layer."""

from edgekd.bench.clock import collect, collector_off
from edgekd.bench.plan import Subject
from edgekd.bench.runtimes.onnxruntime.session import OnnxSession
from edgekd.prune.latency.kernels import REFERENCE, Setting, by_layer
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.recorder import fast

SMALL = Layer("conv", 16, 16, ((4, 4),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), activation=True)
LAYERS, TURNS, WARMUP = 32, 50, 10


def overhead(setting: Setting) -> float:
    """As a multiple of the reference layer's reading.

    It is how far the kernels of small layers together are above an inference that nothing records, for each kernel.
    """
    with setting.record([SMALL] * LAYERS) as recorded, setting.record([REFERENCE]) as reference:
        plain = OnnxSession(Subject(str(recorded.model)), setting.threads)
        inferences: list[int] = []
        with collector_off():
            for _ in range(TURNS):
                reference.run()
                recorded.run()
                plain.run()  # the others took its weights out of the cache
                inferences += collect(plain.run, 0, 1).tolist()
        kernels = recorded.readings(TURNS - WARMUP)
        reference_ms = by_layer(reference.readings(TURNS - WARMUP))[0]
    excess_ms = (sum(kernel.ms for kernel in kernels) - fast(inferences[WARMUP:]) / 1e6) / len(kernels)
    return max(excess_ms, 0.0) / reference_ms
