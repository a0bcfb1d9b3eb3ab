"""The part of a search that runs on a node of a Ray cluster: the same worker process as on one machine.

Arguments and results are texts of JSON. Nothing here imports PyTorch: the worker does, and what kills it leaves the
node's own process alone.
"""

import json
import os
import platform
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgekd.children import ROOT
from edgekd.devices.registry import devices
from edgekd.files import sha256
from edgekd.scratch import hold
from edgekd.search.launch import Worker
from edgekd.strict_json import JsonObject

AUTH_MODE, TOKEN = "RAY_AUTH_MODE", "token"
# The two queues of jobs; the node that times a device has its resource, by the device's name.
TRAINING, TIMING, RESOURCE = "training", "timing", "edgekd-timing-"
LOG_OF = "worker-{node}.log"
# What the bytes of a training and the file of a target depend on, apart from the target's runtime.
PACKAGES = ("torch", "torchvision", "torchao", "onnxruntime", "numpy")
# Of an error that is a node's, not the job's.
NODE = "node"

_worker: Worker | None = None


def facts(lock: str, paths: Sequence[str] = (), runtimes: Sequence[str] = ()) -> JsonObject:
    """Return what a search needs of a machine: the same code, devices and files on all of them, and one shared folder.

    Args:
        lock: the search's lock file, which its driver holds.
        paths: of its recipes.
        runtimes: packages that its targets' runtimes are imported from.
    """
    return {
        "edgekd": _hash_of_code(),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: _version(name) for name in (*PACKAGES, *runtimes)},
        "processor": platform.machine(),
        "registered devices": sorted(devices()),
        "missing files": [path for path in paths if not Path(path).exists()],
        "sees_lock": _is_held(Path(lock)),
        "asks_for_token": os.environ.get(AUTH_MODE) == TOKEN,
    }


def carry_out(message: str, folder: str) -> str:
    """Do the job of ``message`` in a worker process, which stays for the next one; return what it gives.

    Args:
        folder: of the search.
    """
    global _worker
    fields, node = json.loads(message), _name()
    worker = _worker = _worker or Worker(Path(folder) / LOG_OF.format(node=node))
    began = time.time()
    found = worker.run(fields.pop("job"), **fields)
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        # An idle one would keep a part of the GPU's memory, and the next job may be given another GPU.
        worker.stop()
    return json.dumps({**found, "node": node, "began": began, "ended": time.time()})


def _name() -> str:
    """A name for this node; several of one machine have names of their own."""
    import ray

    return f"{socket.gethostname()}-{ray.get_runtime_context().get_node_id()[:6]}"


def _hash_of_code() -> str:
    files = sorted((ROOT / "edgekd").rglob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in files))[:12]


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _is_held(lock: Path) -> bool:
    """Tell whether another process holds ``lock``: so it does where the file system is shared, with its locks."""
    if not lock.is_file():
        return False
    try:
        with hold(lock):
            return False
    except BlockingIOError:
        return True
