"""All that edgekd claims of NVIDIA GPUs, measured in one session of minutes on a machine without a network.

    python benchmarks/gpu_session.py --json gpu.json
    python benchmarks/gpu_session.py --device cpu --quick --minutes 4      (a rehearsal where there is no GPU)

Each part is a process of its own with a time limit, and each figure is on disk as soon as it is there: a part that
crashes or hangs costs its own figures alone. Parts run in the order of their worth; what the time does not reach, and
what lacks a package, is recorded as such.

PyTorch must be installed with its CUDA libraries; this package need not be, and nothing is downloaded. Packages that
the machine lacks can be brought along as wheels, for that machine's Python (here 3.12 on x86-64 Linux):

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\
      --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d DIR \\
      pydantic==2.14.3 pydantic-core==2.50.4 annotated-types typing-inspection torchao torch-pruning

and --packages DIR unpacks them for this session. They go before the machine's own, so bring only what is missing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgekd.files import make_folder, write_json  # noqa: E402  (the standard library alone, like this script)

CHILD = "gpu_parts.child"
# A part that cannot even start in this time is not started.
LEAST_S = 5.0
LINES = 12


@dataclass(frozen=True)
class Part:
    """A module of ``gpu_parts``, and the most seconds that it may take."""

    name: str
    limit_s: float


PARTS = (
    Part("environment", 90),
    Part("latency", 150),
    Part("distillation", 100),
    Part("tests", 90),
    Part("training", 60),
    Part("quantization", 90),
    Part("losses", 45),
    Part("pruning", 60),
    Part("layers", 45),
    Part("bench", 90),
    Part("runtimes", 60),
)


@dataclass(frozen=True)
class Session:
    """The settings of one session, shared by its parts; ``file`` is the summary that is written after each."""

    out: Path
    file: Path
    device: str
    quick: bool
    environment: Mapping[str, str]


def run_part(part: Part, limit_s: float, session: Session) -> dict[str, Any]:
    """Run one part in a process group of its own, end it at its limit, and return its record."""
    file, log = session.out / f"{part.name}.json", session.out / f"{part.name}.log"
    file.unlink(missing_ok=True)
    words = [sys.executable, "-m", CHILD, part.name, str(file), session.device, *(["--quick"] if session.quick else [])]
    started, ending = monotonic(), ""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=ROOT, env=dict(session.environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            ending = f"stopped at its limit of {limit_s:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    record = read(file)
    if ending or record.get("status") in (None, "running"):
        record["status"] = ending or crash(process.returncode)
        record["log"] = log.read_text(errors="replace").splitlines()[-LINES:]
    return {**record, "seconds": monotonic() - started, "limit_s": limit_s}


def read(file: Path) -> dict[str, Any]:
    """Return what a part has written so far."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


def crash(code: int) -> str:
    return f"crashed: {signal.Signals(-code).name}" if code < 0 else f"crashed: it ended with code {code}"


def run_parts(parts: list[Part], minutes: float, session: Session) -> dict[str, Any]:
    """Run ``parts`` within ``minutes``, and write the summary after each."""
    end, records = monotonic() + 60 * minutes, {}
    for part in parts:
        left = end - monotonic()
        if left < LEAST_S:
            records[part.name] = {"status": "not reached", "figures": {}, "goals": []}
        else:
            print(f"{part.name} (at most {min(part.limit_s, left):.0f} s)", file=sys.stderr, flush=True)
            records[part.name] = run_part(part, min(part.limit_s, left), session)
            print(f"  {records[part.name]['status']}", file=sys.stderr, flush=True)
        summary = summarise(records, minutes, session)
        write_json(session.file, summary)
    return summary


def summarise(records: Mapping[str, dict[str, Any]], minutes: float, session: Session) -> dict[str, Any]:
    """Return the session's document, with the goals of all parts."""
    possible = [each["status"] for each in records.values() if not each["status"].startswith("absent")]
    done = sum(status == "done" for status in possible)
    ran = {"name": "parts that ran to their end", "bound": len(possible), "value": done, "met": done == len(possible)}
    return {
        # A record says nothing of the machine's folders.
        "command": " ".join(["python", *(Path(each).name if Path(each).is_absolute() else each for each in sys.argv)]),
        "quick": session.quick,
        "device": session.device,
        "minutes": minutes,
        "environment": records.get("environment", {}).get("figures", {}).get("fingerprint", {}),
        "parts": dict(records),
        "goals": [ran, *(goal for each in records.values() for goal in each.get("goals", []))],
    }


def unpacked(packages: Path, into: Path) -> Path:
    """Unpack the wheels of ``packages`` into ``into``, and return it; a folder without wheels is returned as it is."""
    wheels = sorted(packages.glob("*.whl"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)
    return into if wheels else packages.resolve()


def child_environment(packages: Path | None) -> dict[str, str]:
    paths = [*([packages] if packages else []), ROOT, ROOT / "benchmarks"]
    own = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *([own] if own else [])]),
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def show(summary: Mapping[str, Any]) -> None:
    for name, record in summary["parts"].items():
        seconds = f"{record['seconds']:6.1f} s" if "seconds" in record else " " * 8
        print(f"{name:14} {seconds}  {record['status']}")
    for goal in summary["goals"]:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['name']}: {goal['value']:.4g}, bound {goal['bound']:.4g}")


def chosen(names: str | None) -> list[Part]:
    known = {part.name: part for part in PARTS}
    wanted = names.split(",") if names else list(known)
    if unknown := next((name for name in wanted if name not in known), None):
        sys.exit(f"--parts: there is no part {unknown!r}; parts: {', '.join(known)}")
    return [known[name] for name in wanted]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same code with smaller numbers")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu only shows that the code runs")
    parser.add_argument("--minutes", type=float, default=8.0, help="the time limit of the whole session; 8 by default")
    parser.add_argument("--parts", metavar="A,B", help=f"all by default: {','.join(part.name for part in PARTS)}")
    parser.add_argument("--packages", type=Path, metavar="DIR", help="wheels, or unpacked packages, to import from")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs/gpu_session", help="a folder for each part's figures and log"
    )
    parser.add_argument("--json", type=Path, help="the summary, written after each part; summary.json in --out")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part at work is ended too
    arguments = options()
    parts = chosen(arguments.parts)
    if arguments.packages and not arguments.packages.is_dir():
        sys.exit(f"--packages {arguments.packages}: there is no such folder")
    out = make_folder(arguments.out).resolve()
    with tempfile.TemporaryDirectory() as folder:
        packages = unpacked(arguments.packages, Path(folder)) if arguments.packages else None
        file = arguments.json or out / "summary.json"
        session = Session(out, file, arguments.device, arguments.quick, child_environment(packages))
        summary = run_parts(parts, arguments.minutes, session)
    show(summary)
    sys.exit(0 if all(goal["met"] for goal in summary["goals"]) else 1)


if __name__ == "__main__":
    main()
