"""Jobs of the agent on a device with TensorRT: engines built and run by its ``trtexec``, with the board's sensors."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.agent.locked_clocks import locked_clocks
from edgekd.agent.rails import PowerWatch, dying_with_parent, over_current, thermal_limits
from edgekd.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekd.agent.lines import Conversation

STARTED = "Starting inference"  # trtexec's own words
LOG = 200000  # letters of what trtexec says that are kept


def time_engines(request: dict[str, Any], conversation: Conversation) -> None:
    """Build or find the engines, then run launches, as long as the answer to the last is ``{"more": true}``.

    In each launch the commands of ``runs`` take turns in a new order, and the board's sensors are watched meanwhile.
    """
    find_engines(request, conversation)
    conversation.send({"event": "limits", "limits_c": thermal_limits()})
    order, runs = random.Random(request["seed"]), request["runs"]
    with ExitStack() as stack:
        if request["lock_clocks"]:
            stack.enter_context(locked_clocks(cache_folder()))
        while runs:
            for run in order.sample(runs, len(runs)):
                conversation.send({"event": "run", "model": run["model"], **watched(run)})
            if not conversation.receive()["more"]:
                return


def run_engines(request: dict[str, Any], conversation: Conversation) -> None:
    """Run the engines on each batch of ``samples``, a compressed file of raw numbers."""
    find_engines(request, conversation)
    with gzip.open(request["samples"]) as packed:
        for number in range(request["batches"]):
            Path(request["batch_file"]).write_bytes(packed.read(request["batch_bytes"]))
            for run in request["runs"]:
                run_trtexec(run["words"])
                text = Path(run["outputs"]).read_text(errors="replace")
                conversation.send({"event": "outputs", "model": run["model"], "number": number, "text": text})


def find_engines(request: dict[str, Any], conversation: Conversation) -> None:
    for name, engine in request["engines"].items():
        conversation.send({"event": "engine", "name": name, **built(engine)})


def built(engine: dict[str, Any]) -> dict[str, Any]:
    """Make the engine available under its file's name; its cache key is ``key``, a hash of all that it depends on."""
    kept = cache_folder() / (engine["key"] + ".engine")
    beside = kept.with_suffix(".log")
    started, cached = time.perf_counter(), kept.is_file()
    # A link to another engine that is kept, which trtexec would write through.
    with suppress(FileNotFoundError):
        Path(engine["file"]).unlink()
    if not cached:
        log = Path("build.log")
        log.write_text(run_trtexec(engine["words"])[1][-LOG:])
        # The engine last: where it lies, its log does.
        keep(log, beside)
        keep(Path(engine["file"]), kept)
        Path(engine["file"]).unlink()
    Path(engine["file"]).symlink_to(kept)
    about = {"cached": cached, "seconds": time.perf_counter() - started}
    return {**about, "log": beside.read_text(errors="replace")} if engine["log"] else about


def cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "edgekd"


def keep(made: Path, place: Path) -> None:
    """Copy a file into the cache, whole or not at all: another run may look for it at any moment.

    Also after a power cut, as nothing tells the next run that it is empty.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    landing = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        with made.open("rb") as source, landing.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        landing.replace(place)
    except BaseException:
        with suppress(OSError):
            landing.unlink()
        raise


def watched(run: dict[str, Any]) -> dict[str, Any]:
    before = over_current()
    with PowerWatch(run["interval_s"]) as watch:
        began, _ = run_trtexec(run["words"])
        ended = time.monotonic()
    about = {"began": began, "ended": ended, "rails": watch.rails, "tegrastats": watch.lines}
    files = {name: Path(file).read_text(errors="replace") for name, file in run["files"].items()}
    return {**about, "over_current": [before, over_current()], "files": files}


def run_trtexec(words: Sequence[str]) -> tuple[float | None, str]:
    """Run trtexec; return when its inferences began, and its output. It ends when this process does."""
    began, lines = None, []
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=dying_with_parent(),
    )
    assert process.stdout is not None
    with process:
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            lines.append(line)
            if STARTED in line:
                began = time.monotonic()
    if process.returncode:
        # Its own errors are marked; what it prints last is how it was called.
        errors = [line.strip() for line in lines if "[E]" in line] or [line.strip() for line in lines[-3:]]
        raise DeviceError(f"trtexec ended with code {process.returncode}: {' '.join(errors[:3])[:600]}")
    return began, "".join(lines)
