"""The factorize stage: factors in the place of layers, then training."""

from dataclasses import asdict

from torch import nn

from edgekd.factorize import Factorized, must_reach
from edgekd.factorize import factorize as decompose
from edgekd.models.batchnorm import reestimate
from edgekd.stages.checkpoints import StageCheckpoints
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.job import Job, Result, Trial
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import Shape, Signature
from edgekd.train.history import history_to_json


def check(stage: Factorize, trial: Trial) -> tuple[str, ...]:
    """Try whether the goal can be reached, and name the layers that have no cheaper factors at any rank."""
    left = must_reach(
        trial.network(),
        trial.inputs,
        macs=stage.macs,
        methods=stage.methods,
        ignore=stage.ignore,
        round_to=stage.round_to,
    )
    return tuple(f"not factorised: {layer}" for layer in left)


def factorize(job: Job[Factorize]) -> Result:
    """Factorise the network and train the factors."""
    stage = job.stage

    def factors() -> Result:
        found = _decomposed(stage, job.network.eval(), job.spec.inputs)
        if stage.batchnorm_batches:
            reestimate(found.network, [inputs for inputs, _ in job.labelled(stage.batchnorm_batches)])
        return Result(found.network, job.spec.then(Factorize.name, found.plan), _metrics(found))

    # Factors are found anew otherwise after a kill, and with them the weights that a checkpoint is of.
    at = StageCheckpoints(job.folder / "steps").keep("factors", factors)
    history = job.fit(at.network, spec=at.spec)
    return Result(at.network, at.spec, {"history": history_to_json(history), **at.metrics})


def _decomposed(stage: Factorize, network: nn.Module, input_shape: Shape | Signature) -> Factorized:
    return decompose(
        network,
        input_shape,
        macs=stage.macs,
        energy=stage.energy,
        methods=stage.methods,
        ignore=stage.ignore,
        round_to=stage.round_to,
    )


def _metrics(found: Factorized) -> JsonObject:
    return {
        "kept": {"macs": found.share},
        "energy": found.energy,
        "factorized": [asdict(layer) for layer in found.layers],
        "left_whole": [asdict(layer) for layer in found.left],
    }
