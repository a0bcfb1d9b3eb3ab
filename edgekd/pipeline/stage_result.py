"""A finished stage on disk."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgekd.artifact import Artifact, content_of
from edgekd.artifact_cache import METRICS
from edgekd.strict_json import JsonObject


@dataclass(frozen=True)
class StageResult:
    """A finished stage in the run folder; ``label`` is what reports call its network."""

    name: str
    label: str
    key: str
    folder: Path

    @property
    def artifact(self) -> Artifact:
        return Artifact.load(self.folder)

    @cached_property
    def metrics(self) -> JsonObject:
        return dict(json.loads((self.folder / METRICS).read_text()))

    @cached_property
    def content(self) -> str:
        """Hash the network alone: two stages that give the same network are the same to what follows."""
        return content_of(self.folder)
