"""The agent as a program: a line of JSON in, ``{"job", ...}``; lines of JSON out, ``{"event", ...}``, as they come.

A job is named by the function that does it, as ``package.module:function``; it is given the request, and the other end.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from edgekd.agent.lines import Conversation, one_line


def main() -> None:
    conversation = Conversation()
    if sys.argv[1:] == ["child"]:
        from edgekd.agent.child import serve

        serve(conversation)
    request = conversation.receive()
    try:
        module, _, name = request["job"].partition(":")
        getattr(import_module(module), name)(request, conversation)
        conversation.send({"event": "done"})
    except Exception as error:
        about = {name: getattr(error, name) for name in ("model", "killed") if getattr(error, name, None)}
        conversation.send({"event": "failed", "why": one_line(error), **about})
    # The thread that waits for the input holds a lock that the interpreter would want for its own end.
    os._exit(0)


if __name__ == "__main__":
    main()
