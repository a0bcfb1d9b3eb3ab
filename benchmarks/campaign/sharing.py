"""Several runs of one recipe at once, with one cache and the same folders for what they finish."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from campaign.runs import ENTRY, Place, Reference, hashes

from edgekd.artifact_cache import damaged_file

STORES = ("stages", "exports", "measurements")
LIMIT_S = 900


@dataclass(frozen=True)
class Shared:
    runs: int
    same: int
    """Runs that ended well, with the bytes of the one that was alone."""
    made_twice: int
    lost: int
    waited: int
    """Times that one waited for what another one made."""
    left: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shared(folder: Path, whole: Reference, count: int) -> Shared:
    store = folder / "store"
    places = [Place.new(folder / str(number), store / "cache") for number in range(count)]
    for place in places:
        place.run.mkdir()
        for name in STORES:
            (store / name).mkdir(parents=True, exist_ok=True)
            (place.run / name).symlink_to(store / name)
    processes = [place.start() for place in places]
    said = [process.communicate(timeout=LIMIT_S)[1] for process in processes]
    fine = [
        not process.returncode and hashes(place.run) == whole.hashes
        for process, place in zip(processes, places, strict=True)
    ]
    done = Counter(key for place in places for key in _keys(place.run / "log.jsonl"))
    exported = sum(text.count(": export and evaluation") for text in said)
    exports = [path for path in (store / "exports").glob("*") if ENTRY.fullmatch(path.name)]
    expected = [path.name for name in ("stages", "exports") for path in (whole.place.run / name).glob("[0-9]*")]
    lost = [name for name in expected if all(damaged_file(store / root / name) for root in STORES)]
    return Shared(
        count,
        sum(fine),
        sum(times - 1 for times in done.values()) + exported - len(exports),
        len(lost),
        sum(text.count("another process is at work on it") for text in said),
        sum(1 for pattern in (".edgekd-tmp-*", ".work-*") for _ in store.rglob(pattern)),
    )


def _keys(log: Path) -> list[str]:
    # One that found every stage made by another has none.
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [entry["key"] for entry in entries if entry["event"] == "stage"]
