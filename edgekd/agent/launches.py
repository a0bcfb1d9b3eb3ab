"""Launches of a plan: each loads every model anew, in a process of its own, and they take turns."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from edgekd.agent.blocks import runs_per_block
from edgekd.agent.child import Child
from edgekd.agent.cpus import Neighbours, clock_khz, governor, quietest, throttle_events
from edgekd.agent.gpu import others_on
from edgekd.agent.power import POWERED_LAUNCHES, power_windows
from edgekd.agent.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekd.agent.lines import Conversation

    Say = Callable[[str, str], None]

# Of the rounds of a launch that is shielded from others, every how many one is not.
PLAIN_EVERY = 4


def run_launches(request: dict[str, Any], conversation: Conversation) -> None:
    """Run launches and send a record of each, as long as the answer to the last is ``{"more": true}``."""
    order = random.Random(request["seed"])
    cpus = quietest(request["threads"])
    number = 0
    while True:
        with_power = request["power"] and number < POWERED_LAUNCHES
        done = run_launch(request, cpus, order, conversation, with_power)
        conversation.send({"event": "launch", "number": number, **done})
        number += 1
        if not conversation.receive()["more"]:
            return


def run_launch(
    request: dict[str, Any],
    cpus: Sequence[int],
    order: random.Random,
    conversation: Conversation,
    with_power: bool,
) -> dict[str, Any]:
    children: dict[str, Child] = {}

    def doing(model: str, activity: str) -> None:
        conversation.send({"event": "doing", "model": model, "activity": activity})

    def kill() -> None:
        for child in list(children.values()):
            with suppress(OSError):
                os.killpg(child.pid, SIGKILL)

    conversation.at_end = kill
    try:
        for name, model in request["models"].items():
            children[name] = Child(name, request["threads"])
            children[name].send("prepare", session=model["session"], cpus=list(cpus))
        for name, child in children.items():
            doing(name, "starting")
            child.receive()
        opened = {name: load(name, child, request, doing) for name, child in children.items()}
        warm = {name: warmed_up(name, child, request["warmup_s"], doing) for name, child in children.items()}
        shield, several = any(each["shield"] for each in warm.values()), len(children) > 1
        pids = [child.pid for child in children.values()]
        gpu = [others_on(pids)] if on_gpu(request) else []
        neighbours, throttled = Neighbours(pids, cpus), throttle_events()
        turns = {
            name: Turn(child, runs_per_block(warm[name]["times"]), several, shield, cpus)
            for name, child in children.items()
        }
        doing(", ".join(children), "a block of inferences")
        take_turns(turns, request["seconds"], request["rounds"], order)
        taken, events = neighbours.taken(), throttle_events() - throttled
        gpu += [others_on(pids)] if gpu else []
        transfers = {}
        for name, child in children.items():
            doing(name, "the copies to and from the device")
            transfers[name] = child.ask("transfers", seconds=request["warmup_s"])
        power = power_windows(children, cpus, on_gpu(request), doing) if with_power else None
        return {
            "opened": opened, "transfers": transfers, "taken": taken, "throttled": events, "governor": governor(),
            "gpu": gpu, "power": power, "clock_khz": {name: turn.clock_khz for name, turn in turns.items()},
            "rounds": {name: turn.plain for name, turn in turns.items()},
            "shielded": {name: turn.shielded for name, turn in turns.items()} if shield else None,
        }  # fmt: skip
    finally:
        for child in children.values():
            child.end()


def on_gpu(request: dict[str, Any]) -> bool:
    return any(model["workload"]["device"] != "cpu" for model in request["models"].values())


def load(name: str, child: Child, request: dict[str, Any], doing: Say) -> dict[str, Any]:
    """Load a model alone: loading is timed too."""
    doing(name, "loading and the first inference")
    options = {key: request[key] for key in ("threads", "batch", "seed")}
    opened: dict[str, Any] = child.ask("open", **request["models"][name], **options)
    return opened


def warmed_up(name: str, child: Child, seconds: float, doing: Say) -> dict[str, Any]:
    doing(name, "the warm-up")
    warm: dict[str, Any] = child.ask("warm", seconds=seconds)
    return warm


class Turn:
    """A model's blocks in the rounds of a launch, and the clock rate of ``cpus`` right after each, outside of it.

    Where others are in the way, what counts are blocks that are shielded from them. A few are as a user would see
    them: those take as long as the others let them.
    """

    def __init__(self, child: Child, runs: int, several: bool, shield: bool, cpus: Sequence[int]):
        self.child, self.options, self.shield, self.cpus = child, {"runs": runs, "settle": several}, shield, cpus
        self.plain: list[dict[str, Any]] = []
        self.shielded: list[dict[str, Any]] = []
        self.clock_khz: list[int] = []

    def __call__(self) -> None:
        if self.shield:
            self.shielded.append(self._block(shielded=True))
        if not self.shield or len(self.shielded) % PLAIN_EVERY == 1:
            self.plain.append(self._block())

    def _block(self, **how: bool) -> dict[str, Any]:
        block: dict[str, Any] = self.child.ask("block", **how, **self.options)
        if (rate := clock_khz(self.cpus)) is not None:
            self.clock_khz.append(rate)
        return block
