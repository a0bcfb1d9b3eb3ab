"""The devices of a recipe's targets: this machine, or registered ones, which are probed before a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgekd.devices.probe import Probe, missing, probe
from edgekd.devices.registry import LOCAL, NAME, Device, devices
from edgekd.errors import DeviceError, UnavailableError
from edgekd.log import get_logger
from edgekd.nearest import nearest
from edgekd.recipe import Recipe, Target
from edgekd.runtime import DEFAULT, RUNTIMES, architecture_of

if TYPE_CHECKING:
    from edgekd.data import DataSet

logger = get_logger(__name__)


def resolve_targets(recipe: Recipe) -> tuple[Recipe, dict[str, Probe]]:
    """Return the recipe with the architecture of each registered device, and the probes of these devices by name.

    Raises:
        UnavailableError: a registered device does not respond, cannot run its target, or is not what the recipe says;
            or a device is not known and the recipe does not say its architecture.
    """
    registry = devices()
    probed: dict[str, Probe] = {}
    targets = []
    for target in recipe.targets:
        try:
            must_be_known(target, registry)
            if is_registered(target, registry):
                if target.device not in probed:
                    probed[target.device] = probe_device(registry[target.device])
                target = with_architecture(target, probed[target.device])
        except DeviceError as error:
            raise UnavailableError(f"targets: {error}") from error
        targets.append(target)
    return with_targets(recipe, targets) if probed else recipe, probed


def with_targets(recipe: Recipe, targets: list[Target]) -> Recipe:
    """Return the recipe with these targets in place of its own."""
    return recipe.model_copy(update={"targets": tuple(targets)})


def is_registered(target: Target, registry: Mapping[str, Device]) -> bool:
    """Return whether the target's device is behind SSH, by the registry."""
    return target.device not in LOCAL and target.device in registry


def must_be_known(target: Target, registry: Mapping[str, Device]) -> None:
    """Refuse a target without a processor to write a file for, and one whose processor is given twice.

    Raises:
        DeviceError: with the ways out.
    """
    name = target.device
    if name in LOCAL and target.architecture:
        raise DeviceError(f"{name} is this machine, whose architecture is known: leave it out")
    if name not in registry and target.architecture is None and RUNTIMES[target.runtime].asks_for_architecture:
        raise DeviceError(
            f"{name!r} is not in the device registry, and has no architecture{nearest(name, registry)}; add it "
            f"('edgekd devices add {name if NAME.fullmatch(name) else 'NAME'} --ssh user@host'), or give the target "
            "'architecture: arm' or 'architecture: x86': it gets its file, and nothing is measured on it"
        )


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
        raise DeviceError(f"{name} cannot run {target.runtime}: {lacks}")
    architecture = architecture_of(spelled)
    if architecture is None:
        raise DeviceError(f"{name} is a {spelled}, and files are written for x86_64 and aarch64")
    if target.architecture not in (None, architecture):
        raise DeviceError(f"{name} is {architecture}, and the recipe says {target.architecture}: leave it out")
    return target.model_copy(update={"architecture": architecture})
