"""The devices of a recipe's targets: this machine, or registered ones, which are probed before a run starts."""

from collections.abc import Mapping

from edgekd.data import DataSet
from edgekd.devices.probe import Probe, missing, probe
from edgekd.devices.registry import LOCAL, Device, devices
from edgekd.errors import DeviceError
from edgekd.log import get_logger
from edgekd.recipe import Recipe, Target
from edgekd.runtime import DEFAULT, RUNTIMES
from edgekd.stages.targets import architecture_of

logger = get_logger(__name__)


def resolve_targets(recipe: Recipe) -> tuple[Recipe, dict[str, Probe]]:
    """Return the recipe with the architecture of each registered device, and the probes of these devices by name.

    A device that is not registered has nothing measured on it; the report says so.

    Raises:
        DeviceError: a registered device does not respond, cannot run its target, or is not what the recipe says.
    """
    registry = devices()
    probed: dict[str, Probe] = {}
    targets = []
    for target in recipe.targets:
        if target.device in LOCAL and target.architecture:
            raise DeviceError(f"targets: {target.device} is this machine, whose architecture is known: leave it out")
        if target.device in LOCAL or target.device not in registry:
            targets.append(target)
            continue
        if target.device not in probed:
            probed[target.device] = probe_device(registry[target.device])
        targets.append(with_architecture(target, probed[target.device]))
    if not probed:
        return recipe, probed
    return recipe.model_copy(update={"targets": type(recipe.targets)(targets)}), probed


def must_be_driven(data: DataSet, probed: Mapping[str, Probe], recipe: Recipe) -> None:
    """Refuse targets that no network of several inputs is run on, before anything is trained for them.

    Raises:
        DeviceError: a target is of a runtime that is driven for one input through SSH.
    """
    there = [(RUNTIMES[target.runtime], target.device) for target in recipe.targets if target.device in probed]
    for runtime, device in there:
        if runtime.one_input_remotely and data.preprocess.kind == "tensors":
            raise DeviceError(
                f"targets: {runtime.title} on {device} is driven through SSH for one float input, and the data give "
                f"{', '.join(data.example())} by name: ask for runtime {DEFAULT} there, or leave the target out"
            )


def probe_device(device: Device) -> Probe:
    logger.info(f"{device.name}: asked what it is")
    return probe(device)


def with_architecture(target: Target, found: Probe) -> Target:
    """Return ``target`` with its device's architecture, or raise DeviceError if the device cannot run it."""
    name, spelled = target.device, found.facts.architecture
    if target.runtime not in found.can_run:
        lacks = "; ".join(missing(found)) or f"see 'edgekd devices probe {name}'"
        raise DeviceError(f"targets: {name} cannot run {target.runtime}: {lacks}")
    architecture = architecture_of(spelled)
    if architecture is None:
        raise DeviceError(f"targets: {name} is a {spelled}, and files are written for x86_64 and aarch64")
    if target.architecture not in (None, architecture):
        raise DeviceError(
            f"targets: {name} is {architecture}, and the recipe says {target.architecture}: leave architecture out"
        )
    return target.model_copy(update={"architecture": architecture})
