from dataclasses import replace

from edgekd.chain.stage import Job, Result, stage
from edgekd.prune import prune as cut
from edgekd.prune import widths


@stage("prune", product="pruned", version=1)
def prune(job: Job) -> Result:
    """Cuts channels down to the target, then trains what is left."""
    section = job.section
    pruned = cut(
        job.network,
        job.spec.input_shape,
        macs=section.macs,
        params=section.params,
        importance=section.importance,
        scope=section.scope,
        round_to=section.round_to,
        max_ratio=section.max_ratio,
        ignore=section.ignore,
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
