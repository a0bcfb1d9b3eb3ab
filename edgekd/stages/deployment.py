"""The deployment of a recipe's network, and the file that its first target would run while a stage is at work on it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from edgekd.export import export_onnx
from edgekd.preprocess import Preprocess
from edgekd.profiles import PROFILES
from edgekd.prune.clock import Write
from edgekd.quantize import prepare
from edgekd.quantize.calibration import calibrate
from edgekd.quantize.files import export_runtime
from edgekd.stages.stage import Surroundings
from edgekd.stages.targets import can_be_timed, compute_float16, file_profile, training_profile
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import Named

# Ranges make no difference to the time of a file: a few samples are enough.
BATCHES = 1


@dataclass(frozen=True)
class Deployment:
    """How a recipe's network is deployed on its first target.

    Attributes:
        timed: whether files can be timed there.
        file: the profile that the target's file is written for.
        trained: the profile that the network is quantised by, or None where no stage quantises it.
        precision: int8 or float32.
        channels: the multiple of channels that is fastest.
        files: the profiles of all targets' files, for messages.
    """

    device: str
    runtime: str
    threads: int
    timed: bool
    file: str
    trained: str | None
    precision: str
    channels: int
    files: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        # Without what only messages say, so that it decides no content key.
        return {name: value for name, value in asdict(self).items() if name != "files"}


@dataclass(frozen=True)
class Precisions:
    """Say what a recipe's targets compute in, and what its budget leaves of the task's metrics.

    Attributes:
        drop: what may be lost to the teacher, in the metric's unit of differences; None if the budget says nothing.
        profile: what to quantise for so that every target gets its file.
        computes_float16: whether half precision makes every target faster.
        further: what may be lost of other metrics, by their names.
    """

    drop: float | None
    profile: str
    computes_float16: bool
    further: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        # By the names of earlier versions, so that what they have quantised is found again.
        found = {"accuracy_drop": self.drop, "profile": self.profile, "computes_float16": self.computes_float16}
        return {**found, **({"further_drops": dict(self.further)} if self.further else {})}


def deployment(recipe: Surroundings) -> Deployment:
    """Return how the network of ``recipe`` is deployed on its first target."""
    target = recipe.targets[0]
    profiles = (stage.quantizes_for(recipe.targets) for stage in recipe.stages)
    trained = next((profile for profile in profiles if profile), None)
    return Deployment(
        device=target.device,
        runtime=target.runtime,
        threads=target.threads,
        timed=can_be_timed(target),
        file=file_profile(target),
        trained=trained,
        precision="int8" if trained else "float32",
        channels=PROFILES.find(trained or file_profile(target)).channels,
        files=tuple(dict.fromkeys(map(file_profile, recipe.targets))),
    )


def precisions(recipe: Surroundings) -> Precisions:
    """Return what the targets of ``recipe`` compute in, and what its budget leaves."""
    drops, first = recipe.budget.drops, recipe.kind.metrics[0].name
    return Precisions(
        drop=drops.get(first),
        profile=training_profile(recipe.targets),
        computes_float16=compute_float16(recipe.targets),
        further={name: drop for name, drop in drops.items() if name != first},
    )


def writer(
    deployed: Deployment, input_shape: Shape | Signature, preprocess: Preprocess, batches: Iterable[Named]
) -> Write:
    """Return a function that writes networks as they are deployed; ``batches`` of inputs set the ranges of int8."""
    if deployed.trained is None:
        return partial(_write_float, input_shape=input_shape, preprocess=preprocess)
    first = list(batches)[:BATCHES]
    return partial(_write_int8, deployed=deployed, input_shape=input_shape, preprocess=preprocess, batches=first)


def _write_float(network: nn.Module, path: Path, input_shape: Shape | Signature, preprocess: Preprocess) -> None:
    export_onnx(network, path, preprocess, inputs=input_shape)


def _write_int8(
    network: nn.Module,
    path: Path,
    deployed: Deployment,
    input_shape: Shape | Signature,
    preprocess: Preprocess,
    batches: Iterable[Named],
) -> None:
    assert deployed.trained is not None
    graph = prepare(network, input_shape, deployed.trained)
    calibrate(graph, batches, "minmax")
    export_runtime(graph, path, preprocess, deployed.file, trained=deployed.trained, inputs=input_shape)
