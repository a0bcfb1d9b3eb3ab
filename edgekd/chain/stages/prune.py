from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from edgekd.chain.stage import Job, Result, stage
from edgekd.prune import IMPORTANCES, widths
from edgekd.prune import prune as cut
from edgekd.train.device import channels_last


@stage("prune", product="pruned", version=2)
def prune(job: Job) -> Result:
    """Cuts channels down to the target, then trains what is left."""
    section = job.section
    gradients = IMPORTANCES.find(section.importance).gradients
    pruned = cut(
        job.network,
        job.spec.input_shape,
        macs=section.macs,
        params=section.params,
        size=section.size,
        importance=section.importance,
        reduction=section.reduction,
        scope=section.scope,
        round_to=section.round_to,
        max_ratio=section.max_ratio,
        ignore=section.ignore,
        batches=None if gradients == "none" else list(_labelled(job)),
        seed=job.seed,
    )
    before, after = widths(job.network), widths(pruned.network)
    history = job.fit(pruned.network)
    metrics = {
        "history": history,
        "kept": pruned.share,
        "channel_ratio": pruned.ratio,
        "widths": [{"layer": name, "before": before[name], "after": after[name]} for name in before],
    }
    return Result(pruned.network, replace(job.spec, pruning=(*job.spec.pruning, pruned.plan)), metrics)


def _labelled(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """Random training samples with their labels, the same for one seed."""
    data, count = job.data, job.section.importance_batches
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(job.seed))
    for raw, labels in data.train.stream(chosen.split(data.batch_size)[:count]):
        yield channels_last(data.to_input(raw)), labels
