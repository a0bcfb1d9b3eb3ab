"""The differences between two bundles. Standard library only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.bundle.manifest import Manifest
from edgekd.files import canonical_json
from edgekd.strict_json import JsonObject

# Parts in the order of the table, and the keys that name the items of their lists.
PARTS = (
    *("name", "model", "platform", "schema_version", "task", "targets", "files", "labels", "decoder", "preprocess"),
    *("inputs", "outputs", "raw_inputs", "measurements", "self_test", "licenses", "lineage"),
)
NAMED_BY = {
    "files": ("path",),
    "targets": ("name", "threads"),
    "inputs": ("name",),
    "outputs": ("name",),
    "raw_inputs": ("name",),
    "measurements": ("model", "runtime", "precision", "device", "threads"),
    "stages": ("name",),
    "warnings": ("code",),
}
ABSENT = None


@dataclass(frozen=True)
class Difference:
    """``item`` of ``part`` in the bundles ``a`` and ``b``; None where one lacks it."""

    part: str
    item: str
    a: Any
    b: Any

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diff(a: Manifest, b: Manifest) -> list[Difference]:
    """List every metric, label, file and fact that differs, part by part; files by their size and hash."""
    ours, theirs = facts(a), facts(b)
    return [
        Difference(part, item.removeprefix(f"{part} "), before, after)
        for part in PARTS
        for item, before, after in different(part, part, ours[part], theirs[part])
    ]


def facts(manifest: Manifest) -> JsonObject:
    targets = [each.to_json() for each in manifest.targets]
    computed = {"schema_version": manifest.schema_version, "decoder": manifest.decoder_by_label, "targets": targets}
    return {**asdict(manifest), **computed}


def different(item: str, key: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two values: ``key`` is their name where they are, ``item`` their whole path."""
    if same(a, b):
        return
    ours, theirs = members(key, a), members(key, b)
    if ours is None or theirs is None:
        yield item, a, b
        return
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        yield from different(f"{item} {name}", name, ours.get(name, ABSENT), theirs.get(name, ABSENT))


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are the same JSON, where 1, 1.0 and true are three values."""
    return canonical_json(a) == canonical_json(b)


def members(key: str, value: Any) -> dict[str, Any] | None:
    """Return the items of a mapping or of a list of named items, or None for a value that is compared whole."""
    if isinstance(value, Mapping):
        return dict(value)
    if key == "labels" and isinstance(value, Sequence):
        return {str(number): label for number, label in enumerate(value)}
    listed = [] if value is ABSENT else value
    if key not in NAMED_BY or not isinstance(listed, list | tuple):
        return None
    if not all(isinstance(each, Mapping) for each in listed):
        return None
    named: dict[str, Any] = {}
    for each in listed:
        name = " ".join(str(each[part]) for part in NAMED_BY[key] if part in each)
        while name in named:
            name += " again"
        named[name] = {part: known for part, known in each.items() if part not in NAMED_BY[key]}
    return named
