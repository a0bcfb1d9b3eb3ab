from edgekd.chain.stage import Job, Result, stage
from edgekd.train import CrossEntropy


@stage("teacher", product="teacher", version=1)
def teacher(job: Job) -> Result:
    """The teacher: its checkpoint, trained further where the recipe says so."""
    training = job.section.train
    if training is None:
        return Result(job.network.eval(), job.spec, {"history": []})
    history = job.fit(job.network, section=training, objective=CrossEntropy(training.label_smoothing))
    return Result(job.network, job.spec, {"history": history})
