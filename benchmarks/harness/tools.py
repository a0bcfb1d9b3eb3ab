"""One clock in a process of its own, asked for a turn at a time: ``python tools.py TOOL NETWORK MODEL.onnx``.

A line of seconds on standard input is a turn; the answer is its median in nanoseconds and how often it ran.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekd.agent.session import Session

sys.path.insert(0, str(Path(__file__).parents[1]))

Turn = Callable[[float], tuple[float, int]]

# The resident tools; OpenVINO's benchmark_app is a program of its own.
TOOLS: dict[str, Callable[[str, str], Turn]] = {}


def tool(name: str) -> Callable[[Callable[[str, str], Turn]], Callable[[str, str], Turn]]:
    return lambda function: TOOLS.setdefault(name, function)


@tool("edgekd onnxruntime")
def edgekd_onnxruntime(name: str, model: str) -> Turn:
    return edgekd(model, "onnxruntime", None)


@tool("edgekd openvino")
def edgekd_openvino(name: str, model: str) -> Turn:
    from harness.openvino_session import OpenVinoSession
    from harness.small_networks import shape

    from edgekd.bench.plan import Workload

    return turns_of(OpenVinoSession(Workload(model, "openvino", shape=(1, *shape(name)))))


@tool("edgekd pytorch")
def edgekd_pytorch(name: str, model: str) -> Turn:
    from harness.small_networks import shape

    builder = f"{Path(__file__).with_name('small_networks.py')}:network"
    return edgekd(builder, "pytorch", (1, *shape(name)), name=name)


def edgekd(model: str, runtime: str, shape: tuple[int, ...] | None, **args: str) -> Turn:
    from edgekd.bench.plan import Workload
    from edgekd.bench.runtimes import open_session

    return turns_of(open_session(Workload(model, runtime, shape=shape, args=args), threads=1))


def turns_of(session: "Session") -> Turn:
    from edgekd.agent.clock import collect, collector_off, warm_up
    from edgekd.stats.percentiles import percentile

    warm_up(session.run)

    def turn(seconds: float) -> tuple[float, int]:
        with collector_off():
            collect(session.run, seconds / 4, 1)
            times = collect(session.run, seconds, 1)
        return percentile(times, 0.5), len(times)

    return turn


@tool("bare loop")
def bare_loop(name: str, model: str) -> Turn:
    """What one writes by hand; nothing of edgekd."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    feeds = {node.name: np.random.default_rng(0).random((1, *node.shape[1:]), dtype=np.float32)}
    for _ in range(20):
        session.run(None, feeds)

    def turn(seconds: float) -> tuple[float, int]:
        warm = time.perf_counter() + seconds / 4
        while time.perf_counter() < warm:
            session.run(None, feeds)
        times = []
        end = time.perf_counter() + seconds
        gc.disable()
        while time.perf_counter() < end:
            start = time.perf_counter_ns()
            session.run(None, feeds)
            times.append(time.perf_counter_ns() - start)
        gc.enable()
        return float(np.median(times)), len(times)

    return turn


@tool("torch.utils.benchmark")
def torch_timer(name: str, model: str) -> Turn:
    import logging

    import torch
    from harness.small_networks import network, shape

    # It warns of a missing GPU, which nobody asked for.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils.benchmark import Timer

    torch.set_num_threads(1)
    inputs = torch.rand(1, *shape(name), generator=torch.Generator().manual_seed(0))
    timer = Timer("network(inputs)", globals={"network": network(name), "inputs": inputs}, num_threads=1)

    def turn(seconds: float) -> tuple[float, int]:
        with torch.inference_mode():
            timer.timeit(max(1, round(seconds / 4 / timer.timeit(1).median)))
            measured = timer.blocked_autorange(min_run_time=seconds)
        return measured.median * 1e9, measured.number_per_run * len(measured.raw_times)

    return turn


def main() -> None:
    name, network, model = sys.argv[1:4]
    turn = TOOLS[name](network, model)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(float(line))), flush=True)


if __name__ == "__main__":
    main()
