import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices.server import SSHD, Server


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("no sshd here: 'apt install openssh-server' brings it, and need not start it")
    server = Server(tmp_path_factory.mktemp("sshd")).start()
    yield server
    server.stop()


@pytest.fixture
def clean(sshd: Server) -> Iterator[Server]:
    """The server, and afterwards nothing left: no folder on the device, none here, and no connection."""
    yield sshd
    assert sshd.left_behind() == []
    assert list(Path("/tmp").glob(f"edgekd-ssh-{os.getpid()}-*")) == []
