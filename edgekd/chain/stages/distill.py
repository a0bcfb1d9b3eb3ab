from edgekd.chain.stage import Job, Result, stage
from edgekd.train import fit


@stage("distill", product="distilled", version=1)
def distill(job: Job) -> Result:
    """Trains the student on the teacher's logits and the labels."""
    history = fit(
        job.network,
        job.data,
        job.section,
        job.objective(),
        seed=job.seed,
        name=job.name,
        folder=job.folder,
        log=job.log,
    )
    return Result(job.network, job.spec, {"history": history})
