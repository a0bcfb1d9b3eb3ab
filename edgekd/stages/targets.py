"""The quantisation profiles that a recipe's targets stand for."""

import platform
from collections.abc import Iterable

from edgekd.devices.registry import LOCAL, devices
from edgekd.options import Target
from edgekd.profiles import DEFAULT_PROFILE, PORTABLE, PROFILES, runtime_of
from edgekd.runtime import RUNTIMES, architecture_of


def file_profile(target: Target) -> str:
    """Return the profile whose file runs on ``target``; x86 files hold for every x86 processor, with 7-bit weights."""
    here = architecture_of(platform.machine()) if target.device == "cpu" else None
    return RUNTIMES[target.runtime].profile_for(target.architecture or here).name


def is_measured_here(target: Target) -> bool:
    """Tell whether the target's files are run and timed on this machine."""
    runtime = RUNTIMES[target.runtime]
    return target.device in runtime.devices and runtime.is_installed


def can_be_timed(target: Target) -> bool:
    """Tell whether files and their layers can be timed for it, here or on a registered device."""
    there = target.device not in LOCAL and target.device in devices()
    return RUNTIMES[target.runtime].records_kernels and (there or is_measured_here(target))


def is_timed_here(profile: str) -> bool:
    """Tell whether files for ``profile`` and their layers can be timed on this machine."""
    runtime = runtime_of(profile)
    return is_here(profile) and runtime is not None and runtime.records_kernels


def training_profile(targets: Iterable[Target]) -> str:
    """Return the profile that gives every target its file: the targets' own, or the portable one.

    Profiles that train alike, such as those of two runtimes for one processor, give one another's files.
    """
    profiles = list(dict.fromkeys(map(file_profile, targets))) or [DEFAULT_PROFILE]
    return profiles[0] if len({PROFILES.find(each).training for each in profiles}) == 1 else PORTABLE.name


def compute_float16(targets: Iterable[Target]) -> bool:
    """Return whether half precision makes every target faster."""
    profiles = [PROFILES.find(file_profile(target)) for target in targets]
    return bool(profiles) and all(profile.computes_float16 for profile in profiles)


def is_here(profile: str) -> bool:
    """Tell whether files for ``profile`` run on this machine's processor, in a runtime that is installed."""
    found, runtime = PROFILES.find(profile), runtime_of(profile)
    if runtime is None or "cpu" not in runtime.devices or not runtime.is_installed:
        return False
    return not found.architectures or architecture_of(platform.machine()) in found.architectures
