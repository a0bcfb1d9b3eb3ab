"""Programs that tests need beside Python; a test without one is skipped, and says how to get it."""

import os
import shutil

import pytest

# Each by the Debian package that brings it.
PACKAGES = {
    "chromium": "chromium",
    "faketime": "faketime",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
OTHER_NAMES = {"chromium": ("google-chrome",)}
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def find(program: str) -> str | None:
    names = (program, *OTHER_NAMES.get(program, ()))
    return next(filter(None, (shutil.which(name, path=PATH) for name in names)), None)


def missing(*programs: str) -> str:
    """Why a test that needs ``programs`` is skipped; empty where all are here."""
    package = next((PACKAGES[name] for name in programs if find(name) is None), None)
    return f"'apt install {package}' brings what is missing here" if package else ""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test that is skipped where one of ``programs`` is missing."""
    reason = missing(*programs)
    return pytest.mark.skipif(bool(reason), reason=reason)


def require(*programs: str) -> None:
    """Skip the test at work where one of ``programs`` is missing: for fixtures."""
    if reason := missing(*programs):
        pytest.skip(reason)
