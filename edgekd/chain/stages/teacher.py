from edgekd.chain.stage import Job, Result, stage
from edgekd.train import CrossEntropy, fit


@stage("teacher", product="teacher", version=1)
def teacher(job: Job) -> Result:
    """The teacher: its checkpoint, trained further where the recipe says so."""
    training = job.section.train
    if training is None:
        return Result(job.network.eval(), job.spec, {"history": []})
    objective = CrossEntropy(training.label_smoothing)
    history = fit(
        job.network,
        job.data,
        training,
        objective,
        seed=job.seed,
        name=job.name,
        folder=job.folder,
        log=job.log,
    )
    return Result(job.network, job.spec, {"history": history})
