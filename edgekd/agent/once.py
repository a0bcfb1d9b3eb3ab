"""One command in a fresh process, pinned to as many CPUs as it has threads."""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from edgekd.agent.child import Child
from edgekd.agent.cpus import quietest

if TYPE_CHECKING:
    from edgekd.agent.lines import Conversation


def run_once(request: dict[str, Any], conversation: Conversation) -> None:
    """Send the result of the command that ``request`` names, with its ``arguments``."""
    child = Child(request["name"], request["threads"])

    def kill() -> None:
        with suppress(OSError):
            os.killpg(child.pid, SIGKILL)

    conversation.at_end = kill
    try:
        child.ask("prepare", session=request.get("session"), cpus=quietest(request["threads"]))
        conversation.send({"event": "doing", "model": request["name"], "activity": request["activity"]})
        result = child.ask(request["command"], **request["arguments"])
        conversation.send({"event": "result", "result": result})
    finally:
        child.end()
