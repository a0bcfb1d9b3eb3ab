"""The inputs of a stage, which its key hashes, and those of them that differ from an earlier run's."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from edgekd.files import canonical_json, sha256
from edgekd.strict_json import JsonObject

MOST_NAMED = 3
TASK_CODE = "task_code"


@dataclass(frozen=True)
class StageInputs:
    """Everything that the network of a stage follows from.

    Attributes:
        stage, version: the kind of stage, and the version of its code.
        settings: its options, with ``needs``: what it takes from the rest of the recipe.
        start, teachers: hashes of the networks; ``teachers`` is empty where there is none.
        samples: the data's fingerprint, batch size and augmentations, options of the decoder that predictions on them
            are judged by, and hashes of a user's own task.
    """

    stage: str
    version: int
    settings: Mapping[str, object]
    start: str
    teachers: str
    samples: Mapping[str, object]
    seed: int

    @property
    def key(self) -> str:
        """Return the hash of all inputs."""
        networks = [self.start, self.teachers]
        return sha256(canonical_json([self.stage, self.version, self.settings, networks, self.samples, self.seed]))

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> "StageInputs | None":
        """Read the inputs from an entry of the log, or None where an earlier version did not write them."""
        names = {field.name for field in fields(cls)}
        if not isinstance(document, dict) or set(document) != names:
            return None
        return cls(**document) if all(isinstance(document[name], dict) for name in ("settings", "samples")) else None

    def changes_since(self, before: "StageInputs") -> list[str]:
        """Name each input that is another one than ``before``, with both values where these are readable."""
        found = [*_changes(self.settings.get("needs"), before.settings.get("needs"), "of the budget and targets, ")]
        own, earlier = ({**each.settings, "needs": None} for each in (self, before))
        found += _changes(own, earlier, f"{self.stage}.")
        found += ["the data changed"] if self.samples.get("fingerprint") != before.samples.get("fingerprint") else []
        found += ["the code of the task changed"] if _code(self.samples) != _code(before.samples) else []
        own, earlier = ({**each.samples, "fingerprint": None, TASK_CODE: None} for each in (self, before))
        found += _changes(own, earlier, "data.")
        found += ["it starts from another network"] if self.start != before.start else []
        found += ["the teacher changed"] if self.teachers != before.teachers else []
        found += [f"the seed is {self.seed}, not {before.seed}"] if self.seed != before.seed else []
        found += ["this version of edgekd computes it otherwise"] if self.version != before.version else []
        return found


def _code(samples: Mapping[str, object]) -> bytes:
    return canonical_json(samples.get(TASK_CODE))


def why_again(now: StageInputs, earlier: Iterable[StageInputs]) -> str | None:
    """Say which inputs differ from the most similar of ``earlier`` runs, or return None if there was none."""
    # The latest of equally similar ones.
    known = [now.changes_since(each) for each in earlier][::-1]
    if not known:
        return None
    changes = min(known, key=len)
    if not changes:
        return "its result is damaged or gone, or the stage has another place in the recipe"
    more = len(changes) - MOST_NAMED
    return "; ".join(changes[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _changes(now: Any, before: Any, prefix: str) -> Iterator[str]:
    now, before = ({} if each is None else each for each in (now, before))
    for name in sorted({*now, *before}):
        one, other = now.get(name), before.get(name)
        if canonical_json(one) != canonical_json(other):
            yield f"{prefix}{name} is {_shown(one)}, not {_shown(other)}"


def _shown(value: object) -> str:
    return "left out" if value is None else canonical_json(value).decode().strip('"')
