"""Batches of a training: the same samples for one seed and epoch."""

import torch
from torch import Tensor

from edgekd.data import DataSet
from edgekd.errors import DataError
from edgekd.train import distributed


def batches(data: DataSet, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """Draw the batches of an epoch: for each step a tensor of indices into ``data.train``.

    A batch holds the samples of all ranks, ``data.batch_size`` for each. Each rank trains on its
    :func:`~edgekd.train.distributed.shard` of them.

    With ``data.unlabelled_share`` every batch has the same number of samples with a label, first, and without one,
    after them. An epoch is then one pass over those that last longer, and the others are repeated.

    Raises:
        DataError: there are no samples with a label or none without, or fewer samples than ranks.
    """
    generator = torch.Generator().manual_seed(mix(seed, 1, epoch))
    if data.unlabelled_share is not None:
        return _side_by_side(data, data.unlabelled_share, generator)
    if len(data.train) < distributed.world_size():
        raise DataError(
            f"{data.name} has {len(data.train)} training samples for {distributed.world_size()} processes: start fewer"
        )
    batch_size = data.batch_size * distributed.world_size()
    order = torch.randperm(len(data.train), generator=generator).split(batch_size)
    # A last batch of one would stop BatchNorm; a small one gives a noisy step for its weight.
    return order[:-1] if len(order) > 1 and len(order[-1]) < batch_size else order


def mix(seed: int, purpose: int, number: int) -> int:
    """Derive a seed of its own for each purpose and step, so that no two draws are the same by accident."""
    return (seed * 1_000_003 + purpose) * 1_000_000_007 + number & 0x7FFF_FFFF_FFFF_FFFF


def _side_by_side(data: DataSet, share: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    known = data.has_target
    kinds = [torch.nonzero(chosen).flatten() for chosen in (known, ~known)]
    if not all(map(len, kinds)):
        missing = "without a label" if len(kinds[0]) else "with a label"
        raise DataError(
            f"{data.name} has no training samples {missing}, and unlabelled_share is {share:g}: leave it out, or "
            "give data.unlabelled"
        )
    without = min(max(1, round(share * data.batch_size)), data.batch_size - 1)
    sizes = (distributed.world_size() * (data.batch_size - without), distributed.world_size() * without)
    steps = max(1, *(len(members) // size for members, size in zip(kinds, sizes, strict=True)))
    parts = [_repeated(members, steps * size, generator) for members, size in zip(kinds, sizes, strict=True)]
    pairs = zip(*(part.chunk(steps) for part in parts), strict=True)
    return tuple(torch.cat(pair) for pair in pairs)


def _repeated(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    passes = -(-count // len(members))
    return torch.cat([members[torch.randperm(len(members), generator=generator)] for _ in range(passes)])[:count]
