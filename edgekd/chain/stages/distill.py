from edgekd.chain.stage import Job, Result, stage


@stage("distill", product="distilled", version=1)
def distill(job: Job) -> Result:
    """Trains the student on the teacher's logits and the labels."""
    return Result(job.network, job.spec, {"history": job.fit(job.network)})
