"""The processes that torchrun started to train one network together; one process alone needs nothing of this.

Collectives of PyTorch are matched by their order alone: all processes call these functions in the same order, and never
within a branch that only some of them take.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch import distributed as dist

from edgekd.errors import EdgekdError, TrainingError
from edgekd.log import quiet

T = TypeVar("T")
# The first process may measure for hours while the others wait; torchrun sees to it that none waits for a dead one.
PATIENCE = timedelta(days=30)
# Objects go by gloo also beside GPUs: who waits there sleeps, and does not disturb what the first one measures.
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
# What gloo and NCCL have in common when a process at the other end is no more.
LOST = ("gloo", "connection", "socket", "nccl", "store")


def size() -> int:
    """How many processes train together; 1 outside torchrun."""
    return _said_by_torchrun("WORLD_SIZE", 1)


def rank() -> int:
    """Which one of them this is, in [0, :func:`size`)."""
    return _said_by_torchrun("RANK", 0)


def local_rank() -> int:
    """Which one of this machine's processes this is, from 0."""
    return _said_by_torchrun("LOCAL_RANK", 0)


def is_first() -> bool:
    """Whether this is the one that decides, measures and writes."""
    return rank() == 0


def launch() -> None:
    """Joins the other processes; what needs them does it by itself.

    Raises:
        TrainingError: this machine has fewer GPUs than processes.
    """
    if size() > 1:
        _fabric()


def share(items: Tensor) -> Tensor:
    """This process's part of ``items``, (N, \\*shape): every :func:`size`-th from its :func:`rank` on.

    All parts are equally long; up to ``size() - 1`` items at the end are in none.
    """
    return items[: len(items) // size() * size()][rank() :: size()]


def broadcast(value: T) -> T:
    """The first process's ``value`` in all of them; the others may give anything."""
    if size() == 1:
        return value
    launch()
    box = [value if is_first() else None]
    with explained():
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    return box[0]  # type: ignore[return-value]


def on_first(function: Callable[[], T]) -> T:
    """What ``function`` gives in the first process, which alone calls it; it must be picklable.

    Raises:
        EdgekdError: ``function`` raised it; all processes do then.
    """
    if size() == 1:
        return function()
    found: T | None = None
    error: EdgekdError | None = None
    if is_first():
        try:
            found = function()
        except EdgekdError as raised:
            error = raised
    found, error = broadcast((found, error))
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def in_turns(function: Callable[[], T]) -> T:
    """What ``function`` gives in each process: the first calls it, then one of each other machine, then the rest.

    For what is prepared once and kept on disk, whether the machines share that disk or not.
    """
    turn = 0 if is_first() else 1 if local_rank() == 0 else 2
    found: list[T] = []
    for number in range(3 if size() > 1 else 1):
        if number == turn:
            found.append(function())
        barrier()
    return found[0]


def barrier() -> None:
    """Waits until all processes are here."""
    mean(torch.zeros(()))


def mean(values: Tensor) -> Tensor:
    """The mean over the processes of ``values``, of one shape in all of them; ``values`` itself where there is one."""
    return values if size() == 1 else _reduced(values, dist.ReduceOp.SUM) / size()


def largest(values: Tensor) -> Tensor:
    """The largest of each of ``values`` over the processes."""
    return values if size() == 1 else _reduced(values, dist.ReduceOp.MAX)


def gathered(values: Tensor) -> Tensor:
    """(N, \\*shape) of every process as (size · N, \\*shape), put together as :func:`share` took them apart."""
    if size() == 1:
        return values
    launch()
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(size())]
    with explained():
        dist.all_gather(parts, values.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)


def parallel(module: nn.Module) -> nn.Module:
    """``module`` with the first process's weights, and with gradients that are means over the processes."""
    with quiet():
        return _fabric().setup_module(module, move_to_device=False)


@contextmanager
def explained() -> Iterator[None]:
    """Says of the errors behind a lost process that it was lost.

    Raises:
        TrainingError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if size() == 1 or not any(word in str(error).lower() for word in LOST):
            raise
        raise TrainingError(
            f"rank {rank()} of {size()} lost the others: one of them has ended, and what it said last tells why; the "
            "same command goes on from the last checkpoint"
        ) from error


@cache
def _fabric() -> Fabric:
    local = _said_by_torchrun("LOCAL_WORLD_SIZE", 1)
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and torch.cuda.device_count() < local:
        raise TrainingError(
            f"torchrun started {local} processes here, and there are {torch.cuda.device_count()} GPUs: give "
            "--nproc-per-node=gpu, or hide the GPUs by CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    strategy = DDPStrategy(
        process_group_backend=BACKENDS[accelerator],
        timeout=PATIENCE,
        # Layers may be frozen, or have no part in a loss of features; buffers are kept equal by what fills them.
        find_unused_parameters=True,
        broadcast_buffers=False,
    )
    # Channels-last weights of 1x1 convolutions have strides of either layout.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    with quiet():  # Fabric announces every process
        fabric = Fabric(
            accelerator=accelerator, devices=local, num_nodes=size() // local, strategy=strategy, precision="32-true"
        )
        fabric.launch()
    return fabric


def _reduced(values: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
    launch()
    total = values.clone(memory_format=torch.contiguous_format)
    with explained():
        dist.all_reduce(total, how)
    return total


def _said_by_torchrun(name: str, alone: int) -> int:
    return int(os.environ[name]) if dist.is_torchelastic_launched() else alone
