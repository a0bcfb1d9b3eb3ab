"""Collectives for the ranks that torchrun started to train one network; without torchrun there is one rank.

Collectives of PyTorch are matched by their order alone: all ranks call these functions in the same order, and never
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
# Rank 0 may measure for hours while the others wait; torchrun sees to it that none waits for a dead one.
TIMEOUT = timedelta(days=30)
# Objects go by gloo on GPUs too: a rank that waits there sleeps, and does not disturb what rank 0 measures.
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
# Words of gloo's and NCCL's errors when a process at the other end is no more.
PEER_LOST = ("gloo", "connection", "socket", "nccl", "store")


def world_size() -> int:
    """Return the number of processes that train together; 1 outside torchrun."""
    return _from_torchrun("WORLD_SIZE", 1)


def rank() -> int:
    """Return the rank of this process, in [0, :func:`world_size`)."""
    return _from_torchrun("RANK", 0)


def local_rank() -> int:
    """Return the rank of this process among those of its machine, from 0."""
    return _from_torchrun("LOCAL_RANK", 0)


def is_rank_zero() -> bool:
    """Return whether this process is the one that decides, measures and writes."""
    return rank() == 0


def launch() -> None:
    """Join the other ranks; collectives do it by themselves.

    Raises:
        TrainingError: this machine has fewer GPUs than processes.
    """
    if world_size() > 1:
        _fabric()


def shard(items: Tensor) -> Tensor:
    """Return this rank's part of ``items``, (N, \\*shape): every :func:`world_size`-th from its :func:`rank` on.

    All parts are equally long; up to ``world_size() - 1`` items at the end are in none.
    """
    return items[: len(items) // world_size() * world_size()][rank() :: world_size()]


def broadcast(value: T) -> T:
    """Return the ``value`` of rank 0 on all ranks; the others may give anything."""
    if world_size() == 1:
        return value
    launch()
    objects = [value if is_rank_zero() else None]
    with translate_errors():
        dist.broadcast_object_list(objects, 0, device=torch.device("cpu"))
    return objects[0]  # type: ignore[return-value]


def on_rank_zero(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 alone, and return on all ranks what it gave, which must be picklable.

    Raises:
        EdgekdError: ``function`` raised it; all ranks do then.
    """
    if world_size() == 1:
        return function()
    found: T | None = None
    error: EdgekdError | None = None
    if is_rank_zero():
        try:
            found = function()
        except EdgekdError as raised:
            error = raised
    found, error = broadcast((found, error))
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def rank_zero_first(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 first, then on one rank of each other machine, then on the rest.

    Return on each rank what it gave there. This is for what is prepared once and kept on disk, whether the machines
    share that disk or not.
    """
    turn = 0 if is_rank_zero() else 1 if local_rank() == 0 else 2
    found: list[T] = []
    for number in range(3 if world_size() > 1 else 1):
        if number == turn:
            found.append(function())
        barrier()
    return found[0]


def barrier() -> None:
    """Wait until all ranks are here."""
    mean(torch.zeros(()))


def mean(values: Tensor) -> Tensor:
    """Return the mean of ``values`` over the ranks; their shape is the same on all."""
    return values if world_size() == 1 else _all_reduce(values, dist.ReduceOp.SUM) / world_size()


def maximum(values: Tensor) -> Tensor:
    """Return the elementwise maximum of ``values`` over the ranks."""
    return values if world_size() == 1 else _all_reduce(values, dist.ReduceOp.MAX)


def all_gather(values: Tensor) -> Tensor:
    """Return every rank's ``values``, (N, \\*shape), as (world size · N, \\*shape): :func:`shard` undone."""
    if world_size() == 1:
        return values
    launch()
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(world_size())]
    with translate_errors():
        dist.all_gather(parts, values.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)


def data_parallel(module: nn.Module) -> nn.Module:
    """Return ``module`` with the weights of rank 0, and with gradients that are means over the ranks."""
    with quiet():
        return _fabric().setup_module(module, move_to_device=False)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the errors of collectives after the death of a rank into one that says so.

    Raises:
        TrainingError: another rank has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not any(word in str(error).lower() for word in PEER_LOST):
            raise
        raise TrainingError(
            f"rank {rank()} of {world_size()} lost the others: one of them has ended, and its last message says why; "
            "the same command goes on from the last checkpoint"
        ) from error


@cache
def _fabric() -> Fabric:
    local = _from_torchrun("LOCAL_WORLD_SIZE", 1)
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and torch.cuda.device_count() < local:
        raise TrainingError(
            f"torchrun started {local} processes here, and there are {torch.cuda.device_count()} GPUs: give "
            "--nproc-per-node=gpu, or hide the GPUs by CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    strategy = DDPStrategy(
        process_group_backend=BACKENDS[accelerator],
        timeout=TIMEOUT,
        # Layers may be frozen, or have no part in a loss of features; buffers are kept equal by what fills them.
        find_unused_parameters=True,
        broadcast_buffers=False,
    )
    # Channels-last weights of 1x1 convolutions have strides of either layout.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    with quiet():  # Fabric announces every process
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=world_size() // local,
            strategy=strategy,
            precision="32-true",
        )
        fabric.launch()
    return fabric


def _all_reduce(values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    launch()
    total = values.clone(memory_format=torch.contiguous_format)
    with translate_errors():
        dist.all_reduce(total, operation)
    return total


def _from_torchrun(name: str, alone: int) -> int:
    return int(os.environ[name]) if dist.is_torchelastic_launched() else alone
