"""Quantisation profiles of runtimes, as data.

They say how a network is trained for a runtime, and how its file is written.
"""

from edgekd.errors import ExportError
from edgekd.registry import Registry
from edgekd.runtime import DEFAULT, RUNTIMES, Profile, Runtime

# One training that serves every runtime has the narrowest rule of each.
PORTABLE = Profile("portable", activations="symmetric", saturates=True, float16_scales=True, channels=32)


PROFILES: Registry[Profile] = Registry("quantisation profile", ExportError)
FILE_RUNTIMES: Registry[tuple[Profile, ...]] = Registry("runtime of files", ExportError)
"""The runtimes that files are written for, each with its profiles."""
for _runtime in RUNTIMES.values():
    if _runtime.profiles:
        FILE_RUNTIMES[_runtime.name] = _runtime.profiles
        PROFILES.update({profile.name: profile for profile in _runtime.profiles})
PROFILES[PORTABLE.name] = PORTABLE
DEFAULT_PROFILE = RUNTIMES[DEFAULT].profiles[0].name


def runtime_of(profile: str) -> Runtime | None:
    """Return the runtime that files of ``profile`` are for, or None for one that is only trained for."""
    name = PROFILES.find(profile).runtime
    return RUNTIMES[name] if name else None


def must_serve(trained: str, target: str) -> None:
    """Refuse a file for ``target`` from a network trained for ``trained``, if the profiles are incompatible.

    Raises:
        ExportError: the runtime would refuse the file, or its outputs would differ from the trained network's.
    """
    source, wanted = PROFILES.find(trained), PROFILES.find(target)
    if wanted.runtime is None:
        files = ", ".join(name for name, profile in PROFILES.items() if profile.runtime)
        raise ExportError(f"{target} is a way to train, no runtime; export for one of {files}")
    if reason := _misfit(source, wanted):
        raise ExportError(
            f"a network quantised for {trained} gives no file for {target}: {reason}; quantise with 'profile: portable'"
        )


def serving(target: str) -> list[str]:
    """List the profiles whose files run on the processors of ``target`` too, itself first."""
    wanted = PROFILES.find(target)
    others = (each for each in PROFILES.values() if each.runtime == wanted.runtime and each.name != target)
    alike = (each for each in others if each.architectures == wanted.architectures)
    return [target, *(each.name for each in alike if _misfit(each, wanted) is None)]


def _misfit(source: Profile, wanted: Profile) -> str | None:
    if wanted.activations == "symmetric" and source.activations != "symmetric":
        return f"its activations have zero points, which {wanted.runtime} refuses"
    if wanted.saturates and not source.saturates:
        return "its 8-bit weights overflow on x86 processors without VNNI"
    if wanted.float16_scales and not source.float16_scales:
        return "its scales are not numbers of float16"
    return None
