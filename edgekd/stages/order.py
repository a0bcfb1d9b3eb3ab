"""The order of stages, from the form of network that each takes and gives."""

from collections.abc import Sequence

from edgekd.stages.registry import STAGES
from edgekd.stages.stage import Stage


def first_misplaced(stages: Sequence[Stage | type[Stage]]) -> tuple[int, str] | None:
    """Return the index of the first stage that may not stand where it does, and why, or None if all may."""
    form, before = "float", "start"
    for index, stage in enumerate(stages):
        if form not in stage.takes:
            return index, f"{stage.name} cannot follow {before}; {_advice(stage)}"
        form, before = stage.gives, stage.name
    return None


def _advice(stage: Stage | type[Stage]) -> str:
    *names, last = sorted(name for name, each in STAGES.items() if each.gives in stage.takes)
    first = "first, or " if "float" in stage.takes else ""
    return f"it may come {first}after {', '.join(names)} or {last}"
