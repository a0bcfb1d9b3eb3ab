"""Networks on the way through one stage, each kept when it is made: a stage that was killed goes on behind the last."""

import json
from collections.abc import Callable
from pathlib import Path

from edgekd.artifact import Artifact, capture
from edgekd.chain.names import METRICS
from edgekd.chain.network import restore
from edgekd.chain.stage import Result
from edgekd.chain.store import Store
from edgekd.files import write_json

# The folder is the stage's own, which has a key already.
KEY = "kept"


class Journal:
    """Results in ``folder`` by their names."""

    def __init__(self, folder: Path):
        self.store = Store(folder)

    def keep(self, name: str, make: Callable[[], Result]) -> Result:
        """What ``make`` gives, or gave before; read back from disk in either case, so that both are the same bits."""

        def fill(folder: Path) -> None:
            result = make()
            capture(result.network, result.spec).save(folder)
            write_json(folder / METRICS, result.metrics)

        folder = self.store.keep(name, KEY, fill)
        artifact = Artifact.load(folder)
        return Result(restore(artifact), artifact.spec, json.loads((folder / METRICS).read_text()))
