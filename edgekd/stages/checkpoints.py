"""Checkpoints of networks within one stage, each kept when it is made: a killed stage goes on from the last one."""

import json
from collections.abc import Callable
from pathlib import Path

from edgekd.artifact import Artifact, capture
from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.files import write_json
from edgekd.stages.job import Result
from edgekd.stages.network import restore

# The folder is the stage's own, which has a key already.
KEY = "kept"


class StageCheckpoints:
    """Results in ``folder`` by their names."""

    def __init__(self, folder: Path):
        self.cache = ArtifactCache(folder)

    def keep(self, name: str, make: Callable[[], Result]) -> Result:
        """Return what ``make`` gives or gave before, read back from disk in either case: both are the same bits."""

        def fill(folder: Path) -> None:
            result = make()
            capture(result.network, result.spec).save(folder)
            write_json(folder / METRICS, result.metrics)

        folder = self.cache.keep(name, KEY, fill)
        artifact = Artifact.load(folder)
        return Result(restore(artifact), artifact.spec, json.loads((folder / METRICS).read_text()))
