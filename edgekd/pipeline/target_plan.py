"""The plan of each target: which file it gets, and what is measured where; known before anything is trained."""

import platform
import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgekd.bundle.target import file_for
from edgekd.devices.registry import LOCAL, devices
from edgekd.errors import ExportError
from edgekd.nearest import nearest
from edgekd.profiles import PROFILES, must_serve
from edgekd.recipe import Recipe, Target
from edgekd.runtime import DEFAULT, RUNTIMES, Profile, Runtime
from edgekd.stages.targets import compute_float16, file_profile, is_here, is_measured_here
from edgekd.strict_json import JsonObject

WIDTH, HEADING = 80, 9
# Bundles have files of their own by these names.
TAKEN = ("raw", "int8", "float16")


@dataclass(frozen=True)
class TargetPlan:
    """The plan of a run for one target: what it makes, and what it measures there.

    Attributes:
        name: the target's in the names of files: of the device, and of the runtime where the device has several.
        profile: what its file is written for.
        precision: of the file that the last network gets.
        unserved: why the last network gets no file for it, or None.
        measured: where the file is run and timed: ``here`` or ``there``, or None.
        unmeasured: why it is not timed, or None.
        judged: whether the budget is judged on it.
    """

    name: str
    target: Target
    profile: str
    precision: str
    unserved: str | None
    measured: str | None
    unmeasured: str | None
    judged: bool

    @property
    def file(self) -> str:
        """Return the name of its file in the bundle."""
        return file_for(self.name)

    @property
    def processor(self) -> str:
        """Return the processor that its file is for, as ``aarch64 CPU``."""
        runtime = RUNTIMES[self.target.runtime]
        own = PROFILES.find(self.profile).architectures
        known = self.target.architecture or (platform.machine() if self.target.device in LOCAL else own[:1] and own[0])
        return f"{known} {runtime.processor}" if own and known else runtime.processor

    def to_json(self) -> JsonObject:
        """Return the plan as ``edgekd recipe check --json`` prints it."""
        target = self.target
        known = {
            "name": self.name,
            "device": target.device,
            "runtime": target.runtime,
            "threads": target.threads_there,
            "processor": self.processor,
            "profile": self.profile,
            "precision": self.precision,
            "file": None if self.unserved else self.file,
            "no_file": self.unserved,
            "measured": self.measured,
            "not_measured": self.unmeasured,
        }
        return {key: value for key, value in known.items() if value is not None}


def plan_targets(recipe: Recipe, probed: Collection[str]) -> tuple[TargetPlan, ...]:
    """Plan the targets of ``recipe``, whose devices ``probed`` responded.

    Args:
        recipe: as :func:`edgekd.pipeline.resolve.resolve_targets` returns it.
        probed: names of registered devices.
    """
    plans: list[TargetPlan] = []
    for name, target in zip(target_names(recipe.targets), recipe.targets, strict=True):
        profile = file_profile(target)
        precision, unserved = _precision(recipe, PROFILES.find(profile))
        measured = "here" if is_measured_here(target) else "there" if target.device in probed else None
        measured = None if unserved else measured
        plan = TargetPlan(
            name=name,
            target=target,
            profile=profile,
            precision=precision,
            unserved=unserved,
            measured=measured,
            unmeasured=None if measured or unserved else why_not_measured(target),
            judged=measured is not None and not any(each.judged for each in plans),
        )
        plans.append(plan)
    return tuple(plans)


def judged_target(plans: Sequence[TargetPlan]) -> Target:
    """Return the target that the budget is judged on: the first that is measured, or where none is, the first."""
    return next((plan for plan in plans if plan.judged), plans[0]).target


def target_names(targets: Sequence[Target]) -> list[str]:
    """Name each target for its file: ``pi``, or ``pi-openvino`` where a device has several runtimes.

    Targets that differ in their threads alone share a name.
    """
    named: dict[tuple[str, str], str] = {}
    for target in targets:
        runtimes = {each.runtime for each in targets if each.device == target.device}
        slug = re.sub(r"[^a-z0-9_-]+", "-", target.device.lower()).strip("-_") or "device"
        name = f"{slug}-{target.runtime}" if len(runtimes) > 1 or slug in TAKEN else slug
        place, number = (target.device, target.runtime), 2
        others, first = {other for at, other in named.items() if at != place}, name
        while name in others:
            name, number = f"{first}-{number}", number + 1
        named.setdefault(place, name)
    return [named[target.device, target.runtime] for target in targets]


def why_not_measured(target: Target) -> str:
    """Say why nothing is timed on ``target``, and the way out."""
    if target.device in LOCAL:
        return _why_not_here(RUNTIMES[target.runtime])
    return (
        f"{target.device} is not in the device registry{nearest(target.device, devices())}; "
        f"'edgekd devices add {target.device} --ssh user@host' adds it"
    )


def describe_targets(recipe: Recipe, plans: Sequence[TargetPlan]) -> list[str]:
    """Return lines of at most 80 columns: for each target its file, its precision, and what is measured where."""
    return [line for plan in plans for line in _wrapped(_sentences(plan))] + _untimed(recipe, plans)


def list_targets(recipe: Recipe, plans: Sequence[TargetPlan]) -> list[str]:
    """Return a line for each target: its file, and whether it is timed; :func:`describe_targets` says why it is not."""
    return [f"{'target':<{HEADING}}{_in_short(plan)}" for plan in plans] + _untimed(recipe, plans)


def _in_short(plan: TargetPlan) -> str:
    if plan.unserved:
        return _sentences(plan)[0]
    timed = {None: "not timed (see 'edgekd recipe check')", "here": "timed here", "there": "timed through SSH"}
    judged = ", for the budget" if plan.judged else ""
    title = RUNTIMES[plan.target.runtime].title
    return f"{plan.target.device}: {plan.file}, {plan.precision}, for {title}; {timed[plan.measured]}{judged}"


def _untimed(recipe: Recipe, plans: Sequence[TargetPlan]) -> list[str]:
    bounds = [name for name in recipe.budget.promises if name.startswith(("latency", "energy"))]
    if not bounds or any(plan.judged for plan in plans):
        return []
    return _wrapped([f"no target is timed, so {' and '.join(bounds)} of the budget cannot be met"], "budget")


def _sentences(plan: TargetPlan) -> list[str]:
    runtime = RUNTIMES[plan.target.runtime]
    if plan.unserved:
        return [f"{plan.target.device}: no file for {runtime.title}: {plan.unserved}"]
    here = "this machine's " if plan.target.device in LOCAL else "an " if plan.processor[0] in "aeioN" else "a "
    return [
        f"{plan.target.device}: {plan.file}, for {runtime.title} on {here}{plan.processor}",
        f"{plan.precision}{_dialect(plan)}",
        _measuring(plan),
    ]


def _measuring(plan: TargetPlan) -> str:
    judged = ", and the budget is judged there" if plan.judged else ""
    if plan.measured == "here":
        return f"accuracy, latency and memory are measured on this machine{judged}"
    if plan.measured:
        return f"accuracy and latency are measured on {plan.target.device}, through SSH{judged}"
    title = RUNTIMES[DEFAULT].title
    how = f"in {title}" if is_here(plan.profile) else f"by emulation in {title}"
    return f"accuracy is checked {how} on this machine; latency is not measured: {plan.unmeasured}"


def _dialect(plan: TargetPlan) -> str:
    """The form of a runtime's int8 files, which differs from one to another."""
    if plan.precision != "int8":
        return ""
    profile = PROFILES.find(plan.profile)
    activations = profile.activation_type or ("uint8" if profile.activations == "affine" else "int8")
    rest = ", and float16 in other layers" if profile.float16 else ""
    return f" for {profile.name}: int8 weights and {activations} activations{rest}"


def _precision(recipe: Recipe, profile: Profile) -> tuple[str, str | None]:
    """The precision of the last network's file, and why the profile gets none."""
    quantizing = next((stage for stage in recipe.stages if stage.gives == "quantized"), None)
    if quantizing is None:
        return "float16" if profile.float16 else "float32", None
    trained = quantizing.quantizes_for(recipe.targets)
    if trained is None:
        return "float16", None
    # As edgekd.stages.quantize.work escalates.
    begins_with_half = "half" in getattr(quantizing, "rungs", ()) and compute_float16(recipe.targets)
    try:
        must_serve(trained, profile.name)
    except ExportError as error:
        return "int8", str(error)
    return "float16, or int8 if the budget needs it" if begins_with_half else "int8", None


def _why_not_here(runtime: Runtime) -> str:
    if runtime.devices and not runtime.is_installed:
        return f"{runtime.title} is not installed here; 'pip install {runtime.packages[0]}' brings it"
    here = [f"{each.title} on {device}" for each in RUNTIMES.values() if each.is_installed for device in each.devices]
    return f"this machine times {' and '.join(here)}; other targets are timed where they are registered devices"


def _wrapped(sentences: Sequence[str], heading: str = "target") -> list[str]:
    indent = " " * HEADING
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(
            sentence,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    return [f"{heading:<{HEADING}}{lines[0].strip()}", *lines[1:]]
