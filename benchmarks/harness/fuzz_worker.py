"""``python benchmarks/harness/fuzz_worker.py KIND FOLDER``: a seed a line in, what came of it a line out."""

import json
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
ROOM = 1 << 30  # beyond the input
SLACK = 256 << 20  # stacks of threads and what the first case imports
SECONDS = 10


class TookTooLong(BaseException):
    pass


def main(name: str, folder: Path) -> None:
    from harness.fuzz_kinds import KINDS

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    (folder / "made").mkdir(parents=True)
    kind = KINDS[name](folder / "made")
    warm_up(kind, folder)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        print(json.dumps(tried(kind, int(line), folder)), file=answers)


def warm_up(kind: Any, folder: Path) -> None:
    """What the first cases import is not theirs."""
    for seed in range(-12, 0):
        tried(kind, seed, folder)


def tried(kind: Any, seed: int, folder: Path) -> dict[str, Any]:
    from edgekd.errors import EdgekdError

    case = folder / "case"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir()
    size, use = kind.case(Random(seed), case)
    before, started = files_of(folder), perf_counter()
    highest = peak()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if seed >= 0:
        resource.setrlimit(resource.RLIMIT_AS, (virtual() + ROOM + SLACK + size, hard))
    signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    outcome, said = "accepted", ""
    try:
        use()
    except EdgekdError as error:
        outcome, said = "refused", str(error)
    except TookTooLong:
        outcome, said = "hang", ""
    except BaseException:
        outcome, said = "unexpected", traceback.format_exc()[-3000:]
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    stray = sorted(files_of(folder) - before)
    for path in stray:
        Path(path).unlink(missing_ok=True)
    grown = max(0, peak() - highest - size)
    return {"seed": seed, "outcome": outcome, "said": said[:3000], "seconds": perf_counter() - started,
            "grown": grown, "stray": stray[:5]}  # fmt: skip


def over(*_: object) -> None:
    raise TookTooLong


def files_of(folder: Path) -> set[str]:
    """Everything in the worker's own folders, which hold its home, its temporary files and its working directory."""
    return {os.path.join(top, name) for top, _, names in os.walk(folder) for name in names}  # noqa: PTH118


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
