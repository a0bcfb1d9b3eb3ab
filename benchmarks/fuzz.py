"""Damaged recipes, reports, baselines, policies, bundles, ONNX files, images, checkpoints and answers of devices.

    python benchmarks/fuzz.py --quick
    python benchmarks/fuzz.py --json benchmarks/results/fuzz.json

Each input is made of a good one by its seed, and used in a process as the commands use it: it is taken, or refused in a
sentence. Anything else counts against the goals: another exception, a crash, more than ten seconds, more than 1 GiB of
memory beyond the input, a file left anywhere but in the output. What went wrong is written to --out, with its seed.
``--only KIND --first SEED --cases 1`` repeats a case.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from common import finish, goal, options
from harness.fuzz_worker import ROOM, SECONDS
from rich.console import Console
from rich.table import Table

from edgekd.pipes import Lines, SlowError

KINDS = ("recipe", "report", "baseline", "policy", "bundle", "onnx", "image", "checkpoint", "device")
TOTAL, QUICK = 10_000, 1_800
START_S, GRACE_S = 120.0, 10.0
WORKER = Path(__file__).parent / "harness" / "fuzz_worker.py"


class Worker:
    """A process that tries cases of one kind; its folder holds all that it may write to."""

    def __init__(self, kind: str, folder: Path):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        for name in ("home", "tmp", "cwd"):
            (self.folder / name).mkdir()
        places = {"HOME": "home", "XDG_CACHE_HOME": "home/cache", "XDG_CONFIG_HOME": "home/config", "TMPDIR": "tmp"}
        environment = {name: str(self.folder / place) for name, place in places.items()}
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), kind, str(self.folder)], cwd=self.folder / "cwd",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env={**os.environ, **environment, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(self.folder / "home/mpl")},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.lines = Lines(self.process.stdout)
        if self.answer(START_S) is None:
            raise RuntimeError(f"the worker for {kind} does not start: python {WORKER} {kind} FOLDER shows why")

    def answer(self, seconds: float) -> dict[str, Any] | None:
        line = self.lines.next(monotonic() + seconds)
        return json.loads(line) if line else None

    def ask(self, seed: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            with suppress(BrokenPipeError):
                self.process.stdin.write(b"%d\n" % seed)
            found = self.answer(SECONDS + GRACE_S)
        except SlowError:
            found = {"seed": seed, "outcome": "hang", "said": "in foreign code", "seconds": SECONDS + GRACE_S}
        return {"grown": 0, "stray": [], **(found or {"seed": seed, "outcome": "crash", "said": "", "seconds": 0.0})}

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def campaign(kind: str, seeds: range, folder: Path) -> Iterator[dict[str, Any]]:
    worker = Worker(kind, folder)
    for seed in seeds:
        found = worker.ask(seed)
        if found["outcome"] in ("hang", "crash"):
            worker.end()
            worker = Worker(kind, folder)
        yield {"kind": kind, **found}
    worker.end()


def is_wrong(case: dict[str, Any]) -> bool:
    return case["outcome"] not in ("accepted", "refused") or case["grown"] > ROOM or bool(case["stray"])


def main() -> None:
    arguments = options(
        __doc__,
        only={"choices": KINDS, "help": "one kind"},
        cases={"type": int, "help": "of each kind"},
        first={"type": int, "default": 0, "help": "the first seed"},
    )
    kinds = [arguments.only] if arguments.only else list(KINDS)
    total = QUICK if arguments.quick else TOTAL
    each = arguments.cases or -(-total // len(KINDS))
    out = arguments.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    out.mkdir(parents=True, exist_ok=True)
    table = Table(
        "Kind", "Inputs", "Refused", "Taken", "Exceptions", "Crashes", "Hangs", "Stray files", "Slowest s", "Most MiB"
    )
    rows, wrong = [], []
    with tempfile.TemporaryDirectory(prefix="fuzz-work-") as work:
        for kind in kinds:
            cases = list(campaign(kind, range(arguments.first, arguments.first + each), Path(work)))
            row = row_of(kind, cases)
            rows.append(row)
            wrong += [case for case in cases if is_wrong(case)]
            table.add_row(
                kind, *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in list(row.values())[1:])
            )
            (out / "wrong.json").write_text(json.dumps(wrong, indent=1))
    Console(width=140).print(table)
    if wrong:
        Console(stderr=True).print(f"{len(wrong)} went wrong: {out / 'wrong.json'}", markup=False)
    finish(arguments, {"kinds": rows, "wrong": wrong[:50]}, goals(rows, each * len(kinds)))


def row_of(kind: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes = Counter(case["outcome"] for case in cases)
    return {
        "kind": kind,
        "inputs": len(cases),
        "refused": outcomes["refused"],
        "accepted": outcomes["accepted"],
        "exceptions": outcomes["unexpected"],
        "crashes": outcomes["crash"],
        "hangs": outcomes["hang"],
        "stray": sum(bool(case["stray"]) for case in cases),
        "slowest_s": max(case["seconds"] for case in cases),
        "most_mib": max(case["grown"] for case in cases) / (1 << 20),
    }


def goals(rows: list[dict[str, Any]], inputs: int) -> list[dict[str, Any]]:
    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    return [
        goal("inputs tried", inputs, total("inputs")),
        goal("exceptions that are no refusal", 0, total("exceptions"), at_most=True),
        goal("crashes", 0, total("crashes"), at_most=True),
        goal("hangs over 10 s", 0, total("hangs"), at_most=True),
        goal("files outside the output", 0, total("stray"), at_most=True),
        goal("most memory beyond the input, MiB", 1024, max(row["most_mib"] for row in rows), at_most=True),
    ]


if __name__ == "__main__":
    main()
