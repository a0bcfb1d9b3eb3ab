import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from edgekd import scratch
from tests.devices.server import Server


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sshd")).start()
    yield server
    server.stop()


def left_here() -> list[str]:
    """This side of connections: folders, and processes of ours."""
    folders = [str(path) for path in scratch._handles if path.parent == Path("/tmp")]
    children = [child for child in psutil.Process().children() if child.name() in ("ssh", "scp")]
    return folders + [" ".join(child.cmdline()) for child in children]


def abandoned() -> set[str]:
    """Folders of any process among the temporary files that no living one holds."""
    found = set()
    for owner in Path("/tmp").glob(f"{scratch.PREFIX}*/{scratch.OWNER}"):
        with suppress(OSError), scratch.hold(owner):
            found.add(str(owner.parent))
    return found


def left_since(before: set[str], patience_s: float = 10.0) -> set[str]:
    """What is abandoned and was not before; commands that other tests kill leave theirs for a moment."""
    deadline = time.monotonic() + patience_s
    while (left := abandoned() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Afterwards nothing is left: no folder and no process on the device, none here, and no connection."""
    yield
    assert server.left_behind() == []
    assert left_here() == []


@pytest.fixture
def clean(sshd: Server) -> Iterator[Server]:
    with watched(sshd):
        yield sshd
