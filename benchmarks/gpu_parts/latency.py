"""PyTorch eager, compiled and as a CUDA graph, in turns: times, copies, memory, and outputs against the CPU's."""

import os
from collections.abc import Iterator
from typing import Any

import networks
import numpy as np
import torch
from common import goal
from gpu_parts.tools import apart, settled
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.errors import MeasurementError
from edgekd.runtimes.pytorch.session import COMPILED, CUDA_GRAPH, EAGER, TorchSession
from edgekd.stats.ratios import ratio_of_medians

NAMES = ("resnet18", "mobilenet_v2")
# Products of float32 are IEEE float32, but an algorithm of convolution has roundings of its own.
TOLERANCES = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 1e-1}
BLOCK_MS, MOST_RUNS = 15.0, 200


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    pixels, batches, rounds = (64, (1,), 3) if quick else (224, (1, 32), 16)
    names, precisions = (NAMES[:1], list(TOLERANCES)[:1]) if quick else (NAMES, list(TOLERANCES))
    made = {name: new(name, pixels) for name in names}
    shapes = [(name, (batch, 3, pixels, pixels)) for batch in batches for name in names]
    # All rows without the compiler first: it takes the most time, and the least is lost with it.
    for ways in ((EAGER, CUDA_GRAPH), (EAGER, COMPILED)):
        for name, shape in shapes:
            expected = output(TorchSession.of(made[name], shape, threads=os.cpu_count() or 1))
            for precision in precisions:
                kept = [way for way in ways if device == "cuda" or way != CUDA_GRAPH]
                key = f"{name} {precision} batch {shape[0]} {kept[-1]}"
                yield key, row(made[name], shape, precision, kept, device, rounds, expected)


def new(name: str, pixels: int) -> nn.Module:
    torch.manual_seed(0)
    return settled(getattr(networks, name)(), torch.rand(8, 3, pixels, pixels))


def output(session: TorchSession) -> Tensor:
    return next(each for each in tree_leaves(session.run()) if isinstance(each, Tensor)).float().cpu()


def row(
    network: nn.Module,
    shape: tuple[int, ...],
    precision: str,
    ways: list[str],
    device: str,
    rounds: int,
    expected: Tensor,
) -> dict[str, Any]:
    """Time ``ways`` in turns; the ratio is to the first of them."""
    torch.compiler.reset()
    try:
        opened = {way: opening(network, shape, precision, way, device, expected) for way in ways}
    except MeasurementError as error:
        return {"error": str(error)}
    sessions: dict[str, TorchSession] = {way: session for way, (session, _) in opened.items()}
    records = {way: about for way, (_, about) in opened.items()}
    blocks = in_turns(sessions, rounds)
    for way, times in blocks.items():
        records[way] |= {
            "p50_ms": float(np.median(np.concatenate(times))) / 1e6,
            "raw_ns": times,
        }
    for way in ways[1:]:
        ratio, interval = ratio_of_medians(blocks[way], blocks[ways[0]])
        records[way] |= {"over_eager": ratio, "ci95": list(interval)}
    return {"tolerance": TOLERANCES[precision], **records}


def opening(
    network: nn.Module, shape: tuple[int, ...], precision: str, way: str, device: str, expected: Tensor
) -> tuple[TorchSession, dict[str, Any]]:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    session = TorchSession.of(network, shape, way, device, precision)
    about: dict[str, Any] = {"first_ms": session.first_run_ms(), "apart": apart(output(session), expected)}
    if device == "cuda":
        about["peak_bytes"] = torch.cuda.max_memory_allocated() - before
    copies = {name: collect(call, 0, 30, 30) for name, call in session.transfers().items()}
    return session, {**about, "copies_ms": {name: float(np.median(times)) / 1e6 for name, times in copies.items()}}


def in_turns(sessions: dict[str, TorchSession], rounds: int) -> dict[str, list[list[int]]]:
    order = np.random.default_rng(0)
    blocks: dict[str, list[list[int]]] = {way: [] for way in sessions}
    usual = {way: float(np.median(warm_up(session.run, 0.1, 5))) / 1e6 for way, session in sessions.items()}
    runs = {way: max(3, min(MOST_RUNS, round(BLOCK_MS / ms))) for way, ms in usual.items()}
    with collector_off():
        for _ in range(rounds):
            for way in order.permutation(list(sessions)):
                sessions[way].run()
                blocks[way].append(collect(sessions[way].run, 0, runs[way], runs[way]))
    return blocks


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    rows = {key: each for key, each in figures.items() if "error" not in each}
    found = [goal("latency: rows measured", len(figures), len(rows))]
    shares = [
        way["apart"] / each["tolerance"] for each in rows.values() for way in each.values() if isinstance(way, dict)
    ]
    if shares:
        found.append(goal("latency: outputs apart, of what is tolerated, at worst", 1.0, max(shares), at_most=True))
    graphs = [each[CUDA_GRAPH]["ci95"][0] for key, each in rows.items() if CUDA_GRAPH in each and " batch 1 " in key]
    if graphs:
        name = "latency: CUDA graph over eager at batch 1, lower end of the interval, at worst"
        found.append(goal(name, 1.0, max(graphs), at_most=True))
    return found
