"""The quantisation profiles that a recipe's targets stand for."""

import platform
from collections.abc import Iterable

from edgekd.devices.registry import LOCAL, devices
from edgekd.options import Target
from edgekd.profiles import PROFILES

ARM = ("aarch64", "arm64")


def file_profile(target: Target) -> str:
    """Return the profile whose file runs on ``target``; x86 files hold for every x86 processor, with 7-bit weights."""
    if target.runtime == "tensorrt":
        return "tensorrt"
    architecture = target.architecture or (platform.machine() if target.device == "cpu" else "")
    return "onnxruntime-arm" if architecture in ARM else "onnxruntime-x86"


def is_measured_here(target: Target) -> bool:
    return target.device == "cpu" and target.runtime == "onnxruntime"


def can_be_timed(target: Target) -> bool:
    """Return whether files and layers can be timed for it in ONNX Runtime, here or on a registered device."""
    there = target.device not in LOCAL and target.device in devices()
    return target.runtime == "onnxruntime" and (there or is_measured_here(target))


def training_profile(targets: Iterable[Target]) -> str:
    """Return the profile that gives every target its file: the targets' own, or the portable one."""
    profiles = set(map(file_profile, targets)) or {"onnxruntime-x86"}
    return profiles.pop() if len(profiles) == 1 else "portable"


def compute_float16(targets: Iterable[Target]) -> bool:
    """Return whether half precision makes every target faster."""
    profiles = [PROFILES.find(file_profile(target)) for target in targets]
    return bool(profiles) and all(profile.computes_float16 for profile in profiles)


def is_here(profile: str) -> bool:
    """Return whether files for ``profile`` run in ONNX Runtime on this machine's processor."""
    if PROFILES.find(profile).runtime != "onnxruntime":
        return False
    return profile.endswith("arm") == (platform.machine() in ARM)
