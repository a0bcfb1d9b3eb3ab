"""Changes of a recipe's stages, as settings of the command line and as the command that tries them."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

# Of the command that a report holds: what is not wanted again.
ONCE = ("--fresh", "--json", "--dry-run")


@dataclass(frozen=True)
class StageOptions:
    """A stage of a recipe with the options that the recipe gives it."""

    name: str
    given: Mapping[str, object]

    def having(self, **options: object) -> "StageOptions":
        """Return the stage with other options."""
        return replace(self, given={**self.given, **options})


@dataclass(frozen=True)
class Change:
    """The stages of a recipe as they might be, and settings of its other sections by their keys.

    >>> stages = (StageOptions("prune", {"macs": 0.5}),)
    >>> Change(stages).having(0, macs=0.75).settings(stages)
    ['prune.macs=0.75']
    """

    stages: tuple[StageOptions, ...]
    others: Mapping[str, object] = field(default_factory=dict)

    def having(self, number: int, **options: object) -> "Change":
        """Return the change with other options of the stage ``number``, counted from 0."""
        return self.between(number, (self.stages[number].having(**options),), 1)

    def between(self, number: int, stages: Sequence[StageOptions], removed: int = 0) -> "Change":
        """Return the change with ``stages`` put in at ``number``, in place of ``removed`` ones."""
        kept = self.stages
        return replace(self, stages=(*kept[:number], *stages, *kept[number + removed :]))

    def settings(self, before: Sequence[StageOptions]) -> list[str]:
        """Return what ``--set`` takes to change a recipe of the stages ``before``; nothing where it is the same."""
        others = [f"{key}={json.dumps(value)}" for key, value in self.others.items()]
        names = [stage.name for stage in self.stages]
        if names != [stage.name for stage in before]:
            return [f"stages={json.dumps([{stage.name: stage.given} for stage in self.stages])}", *others]
        found = []
        for number, (one, other) in enumerate(zip(self.stages, before, strict=True)):
            section = one.name if names.count(one.name) == 1 else f"stages.{number}"
            for key, value in one.given.items():
                if value != other.given.get(key):
                    found.append(f"{section}.{key}={json.dumps(value)}")
        return [*found, *others]


def command_with(command: str | None, settings: Iterable[str]) -> str:
    """Return the command of a run with ``settings`` added, in place of earlier ones of the same keys."""
    try:
        words = shlex.split(command or "") or ["edgekd", "run", "RECIPE"]
    except ValueError:  # a text that no shell would take
        words = ["edgekd", "run", "RECIPE"]
    added = list(settings)
    keys = {each.partition("=")[0] for each in added}
    kept: list[str] = []
    given = iter(word for word in words if word not in ONCE)
    for word in given:
        setting = next(given, "") if word == "--set" else word.removeprefix("--set=")
        if word != "--set" and not word.startswith("--set="):
            kept.append(word)
        elif setting.partition("=")[0] not in keys:
            kept += ["--set", setting]
    return shlex.join([*kept, *(word for each in added for word in ("--set", each))])
