"""``edgekd bench`` on the GPU: every launch in processes of its own; and its clock beside torch.utils.benchmark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import goal
from networks import resnet18
from torch.utils.benchmark import Timer

from edgekd.agent.clock import collect
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.runner import measure as measure_plan
from edgekd.runtimes.pytorch.session import COMPILED, CUDA_GRAPH, EAGER, TorchSession
from edgekd.stats.ratios import ratio_of_medians

NETWORKS = Path(__file__).parents[1] / "networks.py"
ROUNDS, RUNS = 40, 10


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    pixels = 64 if quick else 224
    yield "timer_ms", against_timer(device, pixels, 5 if quick else ROUNDS)
    for ways in ((EAGER, CUDA_GRAPH), (EAGER, COMPILED)):
        runtimes = [way for way in ways if device == "cuda" or way != CUDA_GRAPH]
        if quick and COMPILED in ways:
            continue
        shape = (1, 3, pixels, pixels)
        workloads = {way: Workload(f"{NETWORKS}:resnet18", way, device, shape, "float32") for way in runtimes}
        plan = Plan(workloads, EAGER, seconds=0.5, max_seconds=0.5, launches=1 if quick else 4)
        records = {way: record.to_json() for way, record in measure_plan(plan, 80).items()}
        yield runtimes[-1], records


def against_timer(device: str, pixels: int, rounds: int) -> dict[str, list[float]]:
    """Return means of ``RUNS`` eager inferences in milliseconds, by our clock and by PyTorch's, taken in turns."""
    session = TorchSession.of(resnet18(), (1, 3, pixels, pixels), device=device)
    names = {"network": session.network, "inputs": session.inputs, "torch": torch}
    timer = Timer("with torch.inference_mode(): network(*inputs)", globals=names, num_threads=1)
    ways = {
        "edgekd": lambda: float(np.mean(collect(session.run, 0, RUNS, RUNS))) / 1e6,
        "timer": lambda: timer.timeit(RUNS).mean * 1e3,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = np.random.default_rng(0)
    for way in (*ways.values(), *ways.values()):
        way()
    for _ in range(rounds):
        for name in order.permutation(list(ways)):
            times[name].append(ways[name]())
    return times


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    found = []
    if times := figures.get("timer_ms"):
        # PyTorch's timer waits for the GPU once after its runs, ours after each: ours may only be the longer one.
        ours, theirs = ([np.array([each]) for each in times[name]] for name in ("edgekd", "timer"))
        ratio, _ = ratio_of_medians(theirs, ours)
        found.append(goal("bench: torch.utils.benchmark over edgekd's clock, eager", 1.03, ratio, at_most=True))
    if records := figures.get(CUDA_GRAPH):
        interval = records[CUDA_GRAPH]["latency_vs_reference"]["ci95"]
        lower = interval[0] if interval else records[CUDA_GRAPH]["latency_vs_reference"]["ratio"]
        found.append(goal("bench: CUDA graph over eager, lower end of the interval", 1.0, lower, at_most=True))
    return found
