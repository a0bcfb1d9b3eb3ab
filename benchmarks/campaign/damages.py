"""What a finished run or the cache may suffer; the same command mends it, or refuses and says what to do."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from campaign.runs import BRIEFLY, Reference, hashes
from campaign.seeds import look

from edgekd.artifact_cache import damaged_file
from edgekd.bundle.verify import verify
from edgekd.errors import EdgekdError

ADVICE = re.compile("move it away|choose another|free some space|run the (command|recipe) again")
QUICK = 5


@dataclass(frozen=True)
class Damage:
    """``run`` and ``cache`` are the folders; ``mine`` is outside of both."""

    name: str
    do: Callable[[Path, Path, Path], object]
    foreign: str = ""
    """What of the run folder must stay as the damage left it."""


@dataclass(frozen=True)
class Outcome:
    name: str
    right: bool
    refused: str
    said: list[str]
    wrong: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def stage(run: Path, name: str = "01-distill") -> Path:
    return next((run / "stages").glob(f"{name}-*"))


def export(run: Path) -> Path:
    return next((run / "exports").glob("03-*"))


def answers(run: Path, cache: Path) -> Path:
    """Of the teacher; the stage that asks for them is gone."""
    shutil.rmtree(stage(run))
    return next((cache / "edgekd" / "teachers").glob("teacher-*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def away(path: Path, mine: Path) -> Path:
    path.rename(mine / path.name)
    return mine / path.name


def linked(path: Path, mine: Path) -> None:
    path.symlink_to(away(path, mine))


def instead(path: Path, mine: Path, make: Callable[[Path], object]) -> None:
    away(path, mine)
    make(path)


def swapped(path: Path, mine: Path) -> None:
    """A file for a folder, a folder for a file."""
    is_folder = path.is_dir()
    instead(path, mine, lambda place: place.write_text("theirs") if is_folder else place.mkdir())


def beside(path: Path) -> None:
    path.write_text("theirs")


DAMAGES = (
    Damage("stage: a flipped byte", lambda run, cache, mine: flip(stage(run) / "weights.safetensors")),
    Damage("stage: a file cut", lambda run, cache, mine: cut(stage(run) / "weights.safetensors")),
    Damage("stage: a file missing", lambda run, cache, mine: (stage(run) / "model.json").unlink()),
    Damage("stage: a link for a file", lambda run, cache, mine: linked(stage(run) / "weights.safetensors", mine)),
    Damage("stage: .DS_Store beside", lambda run, cache, mine: beside(stage(run) / ".DS_Store"), "stages/*/.DS_Store"),
    Damage("stage: a file emptied", lambda run, cache, mine: empty(stage(run) / "metrics.json")),
    Damage("stage: a folder for a file", lambda run, cache, mine: swapped(stage(run) / "metrics.json", mine)),
    Damage("stage: a pipe for a file", lambda run, cache, mine: instead(stage(run) / "model.json", mine, os.mkfifo)),
    Damage("stage: sums missing", lambda run, cache, mine: (stage(run) / "SHA256SUMS").unlink()),
    Damage("bundle: a flipped byte", lambda run, cache, mine: flip(run / "bundle" / "model.cpu.onnx")),
    Damage("stage: sums without their last line", lambda run, cache, mine: cut_line(stage(run) / "SHA256SUMS")),
    Damage("stage: sums cut", lambda run, cache, mine: cut(stage(run) / "SHA256SUMS")),
    Damage("stage: a file for the folder", lambda run, cache, mine: swapped(stage(run), mine)),
    Damage("stage: a link for the folder", lambda run, cache, mine: linked(stage(run), mine)),
    Damage("stage: a broken link", lambda run, cache, mine: instead(stage(run), mine, lambda at: at.symlink_to("no"))),
    Damage("cache: a flipped answer", lambda run, cache, mine: flip(answers(run, cache) / "logits.npy")),
    Damage("stage: the folder missing", lambda run, cache, mine: shutil.rmtree(stage(run, "02-prune"))),
    Damage("stage: no permissions", lambda run, cache, mine: (stage(run) / "model.json").chmod(0)),
    Damage("stage: a link beside", lambda run, cache, mine: (stage(run) / "l").symlink_to(mine), "stages/*/l"),
    Damage("stages: a file", lambda run, cache, mine: swapped(run / "stages", mine)),
    Damage("export: a flipped byte", lambda run, cache, mine: flip(export(run) / "model.onnx")),
    Damage("export: a file cut", lambda run, cache, mine: cut(export(run) / "model.onnx")),
    Damage("export: answers missing", lambda run, cache, mine: (export(run) / "predictions-pytorch.npy").unlink()),
    Damage("export: a link for the folder", lambda run, cache, mine: linked(export(run), mine)),
    Damage("exports: a pipe", lambda run, cache, mine: instead(run / "exports", mine, os.mkfifo)),
    Damage("exports: a link to the folder", lambda run, cache, mine: linked(run / "exports", mine), "exports"),
    Damage("measurement: a flipped byte", lambda run, cache, mine: flip(next(run.glob("measurements/*/metrics.json")))),
    Damage("measurement: emptied", lambda run, cache, mine: empty(next(run.glob("measurements/*/metrics.json")))),
    Damage("report cut", lambda run, cache, mine: cut(run / "report.json")),
    Damage("report: a link", lambda run, cache, mine: linked(run / "report.json", mine)),
    Damage(
        "log: bytes that are no text", lambda run, cache, mine: (run / "log.jsonl").write_bytes(b"\xff\xfe[1]\n7\n")
    ),
    Damage("log: a folder", lambda run, cache, mine: swapped(run / "log.jsonl", mine)),
    Damage("recipe missing", lambda run, cache, mine: (run / "recipe.lock.yaml").unlink()),
    Damage("marker missing", lambda run, cache, mine: (run / "edgekd-run.json").unlink()),
    Damage("bundle: a file of others", lambda run, cache, mine: beside(run / "bundle" / "notes"), "bundle/notes"),
    Damage("bundle: manifest missing", lambda run, cache, mine: (run / "bundle" / "manifest.json").unlink()),
    Damage("bundle: a link", lambda run, cache, mine: linked(run / "bundle", mine)),
    Damage("cache: answers cut", lambda run, cache, mine: cut(answers(run, cache) / "logits.npy")),
    Damage("cache: index no JSON", lambda run, cache, mine: cut(answers(run, cache) / "index.json")),
    Damage("cache: answers a link", lambda run, cache, mine: linked(answers(run, cache) / "logits.npy", mine)),
    Damage("cache: answers a pipe", lambda run, cache, mine: instead(answers(run, cache), mine, os.mkfifo)),
    Damage("work: a link", lambda run, cache, mine: begun(run, mine).symlink_to(mine)),
    Damage("work: a file", lambda run, cache, mine: beside(begun(run, mine))),
)


def begun(run: Path, mine: Path) -> Path:
    """Move a stage away, and return the place of unfinished work at it."""
    stage(run).rename(mine / "s")
    key = next(path.name for path in (run.parent / "whole" / "stages").glob("01-distill-*"))
    return run / "stages" / f".work-{key}"


def damaged(folder: Path, whole: Reference, quick: bool) -> list[Outcome]:
    """Of each, in a copy of a finished run; in this process, which has loaded the libraries already."""
    exec(BRIEFLY, {})
    from edgekd.pipeline.measure import LatencyNode

    torch.set_num_threads(1)  # as the other processes have it
    LatencyNode.holds = lambda self, folder: True  # type: ignore[method-assign]  # so brief a measurement is not valid
    folder.mkdir()
    (folder / "whole").symlink_to(whole.place.run)
    return [_suffer(folder, whole, each) for each in DAMAGES[:: QUICK if quick else 1]]


def _suffer(folder: Path, whole: Reference, damage: Damage) -> Outcome:
    from edgekd.pipeline.run import run as chain
    from edgekd.recipe import load_recipe

    run, cache, mine = (folder / name for name in ("run", "cache", "mine"))
    for each, source in ((run, whole.place.run), (cache, whole.place.cache)):
        shutil.copytree(source, each, symlinks=True)
    mine.mkdir()
    damage.do(run, cache, mine)
    stays = sorted(run.glob(damage.foreign)) if damage.foreign else []
    before = look([mine, *stays])
    os.environ["XDG_CACHE_HOME"] = str(cache)
    wrong: list[str] = []
    said, refused = StringIO(), ""
    try:
        with redirect_stderr(said), redirect_stdout(StringIO()):
            chain(load_recipe(whole.place.folder / "recipe.yaml"), run)
    except EdgekdError as error:
        refused = str(error)
        wrong += [] if ADVICE.search(refused) else ["refused without advice"]
    except Exception as error:  # what a user would get as a traceback
        wrong.append(f"{type(error).__name__}: {error}")
    if not refused and not wrong:
        now = hashes(run)
        wrong += [
            f"{name} differs" for name in now.keys() | whole.hashes.keys() if now.get(name) != whole.hashes.get(name)
        ]
        entries = [path for root in ("stages", "exports") for path in (run / root).glob("[0-9]*")]
        wrong += [f"{file} is damaged" for path in entries if (file := damaged_file(path))]
        if not damage.foreign.startswith("bundle"):  # which verify refuses, whoever's it is
            verify(run / "bundle")
    wrong += [f"{path} was touched" for path, facts in before.items() if look([mine, *stays]).get(path) != facts]
    for each in (run, cache, mine):
        shutil.rmtree(each)
    warnings = [line for line in said.getvalue().splitlines() if line.startswith("warning")]
    return Outcome(damage.name, not wrong, refused, warnings, wrong)
