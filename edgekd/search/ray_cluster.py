"""A running Ray cluster as the place where a search's jobs are done.

Ray places them and does nothing else: what is decided, and what has been, is in the search's own folder, which all
nodes share. So a cluster, a node or this process may end at any moment.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from edgekd import children
from edgekd.devices.registry import LOCAL, devices
from edgekd.errors import ClusterError, EdgekdError
from edgekd.extras import how_to_install
from edgekd.files import make_folder, storage
from edgekd.log import get_logger
from edgekd.recipe import Recipe, load_recipe
from edgekd.runtime import RUNTIMES
from edgekd.search.folder import LOCK, RAY_LOG
from edgekd.search.ray_node import LOG_OF, NODE, PACKAGES, TIMING, TRAINING
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

MODULE = "edgekd.search.ray_driver"
PLACED = "placed.jsonl"
CONNECT_S = 5.0
# Jobs that time; nothing is left to train for them.
TIMED_JOBS = ("time", "run")
TRY = "try"
ENDS_S = 10.0


class RayCluster:
    """The nodes of a Ray cluster: some train candidates, and the one that is timed on does so alone.

    Each device that is timed has a queue of its own: a Ray resource, ``edgekd-timing-cpu`` for this machine's kind.

    Args:
        address: ``HOST:PORT`` of the cluster's head; this machine is one of its nodes.
        folder: of the search.
        recipe: of the search, whose targets are timed.
        files: that its candidates are made from, at the same paths on all nodes.

    Raises:
        ClusterError: ``address`` is none.
    """

    def __init__(self, address: str, folder: Path, recipe: Recipe, files: Iterable[Path] = ()):
        self.host, self.port = _parsed(address)
        self.address, self.folder = address, folder.absolute()
        registered = devices()
        names = dict.fromkeys(target.device for target in recipe.targets)
        self.devices = [name for name in names if name in LOCAL or name in registered]
        self.files = [str(path) for path in files]
        packages = dict.fromkeys(name for target in recipe.targets for name in RUNTIMES[target.runtime].packages)
        self.runtimes = [name for name in packages if name not in PACKAGES]
        self.slots, self.log = 0, self.folder / LOG_OF.format(node="*")
        self._lock = threading.Lock()
        self._waiting: dict[int, SimpleQueue[JsonObject | None]] = {}
        self._count = 0
        self._gone = False

    def __enter__(self) -> "RayCluster":
        """Connect to the cluster.

        Raises:
            ClusterError: it is not there, refuses, or its nodes cannot do what a search needs.
        """
        if find_spec("ray") is None:
            raise EdgekdError(str(how_to_install("ray")))
        try:
            socket.create_connection((self.host, self.port), CONNECT_S).close()
        except OSError as error:
            raise ClusterError(f"there is no Ray cluster at {self.address}: {error}; 'ray start' begins one") from error
        make_folder(self.folder)
        self._errors = (self.folder / RAY_LOG).open("ab")
        self._process = children.converse(MODULE, self._errors)
        try:
            self._connect()
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def run(self, job: str, **fields: Any) -> JsonObject:
        """Return what a node of the cluster gives for the job: ``{"result": ...}`` or ``{"error": ...}``.

        Raises:
            ClusterError: the cluster is gone, or two nodes were lost in a row.
        """
        if job in TIMED_JOBS or (job == TRY and times_networks(load_recipe(Path(fields["recipe"])))):
            return self._placed(TIMING, job, fields)
        if not fields.get("timed"):
            return self._placed(TRAINING, job, fields)
        # What is timed is trained first, elsewhere; the cache has it then.
        trained = self._placed(TRAINING, job, {**fields, "timed": False})
        return self._placed(TIMING, job, fields) if "result" in trained else trained

    def stop(self) -> None:
        """Leave the cluster; Ray ends what this search has under way there."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._errors.close()

    def _connect(self) -> None:
        settings = {
            "address": self.address,
            "folder": str(self.folder),
            "lock": str(self.folder / LOCK),
            "devices": self.devices,
            "paths": self.files,
            "runtimes": self.runtimes,
        }
        self._write(settings)
        assert self._process.stdout
        line = self._process.stdout.readline()
        first = json.loads(line) if line.endswith("\n") else {"error": f"the Ray cluster at {self.address} refuses"}
        if "error" in first:
            raise ClusterError(f"{first['error']} ({self.folder / RAY_LOG} has more)")
        self.slots = int(first["slots"])
        logger.info(f"{self.slots} trainings at a time on the Ray cluster at {self.address}")

    def _placed(self, queue: str, job: str, fields: JsonObject) -> JsonObject:
        box: SimpleQueue[JsonObject | None] = SimpleQueue()
        with self._lock:
            self._count += 1
            number = self._count
            self._waiting[number] = box
            if self._gone:
                box.put(None)
        with suppress(OSError):
            self._write({"number": number, "queue": queue, "message": json.dumps({"job": job, **fields})})
        found = box.get()
        if found is None or found.get("kind") == NODE:
            what = f"the Ray cluster at {self.address} is gone" if found is None else found["error"]
            raise ClusterError(
                f"{what} ({self.folder / RAY_LOG} has more); what is finished is kept: the same command goes on, with "
                "--address or without"
            )
        about = {"queue": queue, "job": job, "recipe": fields["recipe"]}
        where = {name: found.pop(name) for name in ("node", "began", "ended") if name in found}
        if "error" in found and "node" in where:
            found["error"] += f" (on {where['node']})"
        place = self.folder / PLACED
        with storage(place), self._lock, place.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**about, **where}) + "\n")
        return found

    def _write(self, document: JsonObject) -> None:
        assert self._process.stdin
        with self._lock:
            self._process.stdin.write(json.dumps(document) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout
        try:
            # A last line that was cut off is no answer.
            with suppress(ValueError):
                for line in self._process.stdout:
                    self._take(json.loads(line))
        finally:
            with self._lock:
                self._gone = True
                for box in self._waiting.values():
                    box.put(None)

    def _take(self, document: JsonObject) -> None:
        if "say" in document:
            logger.warning(document["say"])
        else:
            self._waiting.pop(document["number"]).put(document["found"])


def times_networks(recipe: Recipe) -> bool:
    """Tell whether a stage of ``recipe`` times networks while it trains them."""
    return any(stage.times_networks for stage in recipe.stages)


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ClusterError(
            f"--address {address}: expected HOST:PORT of a Ray cluster's head, such as 10.0.0.1:6379; this machine "
            "must be one of its nodes ('ray start --address=HOST:PORT' makes it one)"
        )
    return host.strip("[]"), int(port)
