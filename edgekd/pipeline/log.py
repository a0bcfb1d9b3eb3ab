"""log.jsonl: what happened in a run folder, one JSON object per line, oldest first."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.files import storage
from edgekd.pipeline.local_paths import without_local_paths
from edgekd.pipeline.stage_inputs import StageInputs


class RunLog:
    """Appends to the log and reads it back; a line that a kill cut short is passed over."""

    def __init__(self, path: Path, written: Mapping[str, str] | None = None):
        """``written`` says how the recipe wrote its absolute paths, which the log does not hold."""
        self.path = path
        self.written = written or {}

    def write(self, event: str, **fields: Any) -> None:
        about = without_local_paths(fields, self.path.parent, self.written)
        line = json.dumps({"time": round(time.time(), 3), "event": event, **about})
        with storage(self.path), self.path.open("ab+") as file:
            # A kill may have cut the last line short; this one must not become part of it.
            torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            file.write(("\n" * torn + line + "\n").encode())

    def seconds_of(self, key: str) -> float | None:
        """Return how long the stage of ``key`` took when it ran to its end."""
        seconds = [entry.get("seconds") for entry in self._entries() if entry.get("key") == key]
        return seconds[-1] if seconds else None

    def stage_inputs(self, name: str) -> list[StageInputs]:
        """Return the inputs of each stage of this name that ran to its end, oldest first."""
        ended = [each for each in self._entries() if each.get("event") == "stage" and each.get("name") == name]
        return [found for each in ended if (found := StageInputs.from_json(each.get("inputs")))]

    def threads(self) -> int | None:
        """Return how many threads the run in this folder began with."""
        found = [entry.get("threads") for entry in self._entries() if entry.get("event") == "threads"]
        return next((each for each in found if isinstance(each, int) and each > 0), None)

    def _entries(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries
