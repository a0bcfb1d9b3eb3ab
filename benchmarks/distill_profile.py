"""Where the time of a distillation's steps goes, by torch.profiler, and how fast the machine multiplies matrices."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from distill_contenders import SHAPE, STUDENT, TEACHER, Enough, Setup
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.profiler import ProfilerActivity, profile, record_function

from edgekd.models import count_macs

WARM_UP, SIDE, PRODUCTS = 4, 1024, 30
BACKWARD = "autograd::engine"


def profiled(setup: Setup, contender: Callable[..., nn.Module]) -> dict[str, Any]:
    """Milliseconds of a step by group, of the thread that trains, and what its arithmetic takes at the machine's best.

    What the profiler itself takes is in them: shares count, not milliseconds.
    """
    rate = product_rate()
    profiler, walls = profile(activities=[ProfilerActivity.CPU]), [0.0, 0.0]
    step = 0

    def pause() -> None:
        nonlocal step
        if step == WARM_UP:
            profiler.start()
            walls[0] = time.perf_counter()
        if step == WARM_UP + setup.steps:
            walls[1] = time.perf_counter()
            profiler.stop()
            raise Enough
        step += 1

    with scopes(), suppress(Enough):
        contender(setup, pause)
    groups: dict[str, float] = defaultdict(float)
    for event in profiler.events() or ():
        groups[group_of(event)] += event.self_cpu_time_total / 1000 / setup.steps
    wall = 1000 * (walls[1] - walls[0]) / setup.steps
    groups["Python, and waiting"] = wall - sum(groups.values())
    longest = dict(sorted(groups.items(), key=lambda group: group[1], reverse=True))
    macs = {name: count_macs(setup.network(name), SHAPE) * setup.batch_size for name in (TEACHER, STUDENT)}
    return {
        "milliseconds": longest,
        "share": {name: value / wall for name, value in longest.items()},
        "gflops": rate,
        # Twice backward, by the weights and by the inputs.
        "least_ms": {TEACHER: 2e-6 * macs[TEACHER] / rate, STUDENT: 3 * 2e-6 * macs[STUDENT] / rate},
    }


@contextmanager
def scopes() -> Iterator[None]:
    """Names the whole of each network's forward pass: of the teacher where it is asked for no gradient."""
    inside: list[tuple[nn.Module, record_function]] = []

    def enter(module: nn.Module, inputs: Any) -> None:
        if not inside:
            scope = record_function("student" if torch.is_grad_enabled() else "teacher")
            inside.append((module, scope))
            scope.__enter__()

    def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
        if inside and inside[0][0] is module:
            inside.pop()[1].__exit__(None, None, None)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def group_of(event: Any) -> str:
    above = [event.name]
    while event.cpu_parent is not None:
        event = event.cpu_parent
        above.append(event.name)
    name = above[0]
    whose = next((each for each in above if each in ("teacher", "student")), "")
    backward, convolution = any(BACKWARD in each for each in above), "conv" in name
    if convolution and (whose or backward):
        return f"{whose or 'student'}: convolutions {'backward' if backward else 'forward'}"
    if any("batch_norm" in each for each in above) and (whose or backward):
        return f"{whose or 'student'}: BatchNorm"
    if any(each.startswith("Optimizer.") for each in above):
        return "optimizer"
    if whose or backward:
        return f"{whose or 'student'}: ReLU, additions and the rest"
    return "images and loss"


def product_rate() -> float:
    """Billions of float32 operations in a second: the best of some products of two square matrices."""
    a, best = torch.rand(SIDE, SIDE), float("inf")
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - started)
    return 2 * SIDE**3 / best / 1e9
