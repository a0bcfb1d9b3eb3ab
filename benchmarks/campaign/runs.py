"""A run of a tiny recipe in a process of its own, with its own cache and temporary files, briefly measured."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.files import sha256_file

ROOT = Path(__file__).parents[2]
RECIPE = """\
name: faults
seed: 0
data: {source: digits, train_limit: 400, test_limit: 100, batch_size: 50, augment: [crop]}
teacher:
  model: small_cnn
  args: {width: 16}
  train: {epochs: 6, lr: 0.1}
student: {model: small_cnn, args: {width: 8}}
stages:
  - distill: {epochs: 4, views: 4}
  - prune: {macs: 0.6, round_to: 2, epochs: 2}
  - quantize: {epochs: 2, rungs: [qat], placement: int8}
budget: {accuracy_drop: 100}
"""
# Times are short and decide nothing, so that two runs end in the same bytes.
BRIEFLY = """
from functools import partial
from edgekd.pipeline import measure, run
from edgekd.log import get_logger
from edgekd.prune.clock import Clock, Timing
from edgekd.stages.prune import cutter
measure.SECONDS, measure.LAUNCHES, measure.PROFILE_RUNS = 0.1, 2, 2
measure.ends = lambda labels: labels[-1:]
cutter.Clock = partial(Clock, seconds=0.1, launches=2)
Timing.is_slower = property(lambda timing: False)
pack_run = run.pack_run
run.pack_run = lambda folder: (get_logger("edgekd.pipeline").info("  packing"), pack_run(folder))
"""
LAUNCH = f"""
from edgekd.cli.interrupt import leave_on_signal
leave_on_signal()
{BRIEFLY}
from edgekd.cli.main import main
main()
"""
PHASES = (
    "teacher: starts",
    "distill: starts",
    "prune: starts",
    "quantize: starts",
    "teacher: export",
    "distilled: export",
    "pruned: export",
    "quantized: export",
    "latency on this CPU",
    "packing",
)
ENTRY = re.compile(r"\d\d-.+-[0-9a-f]{12}")
PRODUCTS = ("model.json", "weights.safetensors", "model.onnx", "model.cpu.onnx")


@dataclass(frozen=True)
class Place:
    """The folders of one run, or of several that share the cache."""

    folder: Path
    run: Path
    cache: Path
    temporary: Path

    @staticmethod
    def new(folder: Path, cache: Path | None = None) -> "Place":
        place = Place(folder, folder / "run", cache or folder / "cache", folder / "tmp")
        for each in (place.folder, place.cache, place.temporary):
            each.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(RECIPE)
        return place

    def start(self) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "run", str(self.folder / "recipe.yaml"), "--out", str(self.run)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """A run that nobody disturbed."""

    place: Place
    hashes: dict[str, str]
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)
    """How long each took."""


def reference(folder: Path) -> Reference:
    place = Place.new(folder)
    process = place.start()
    assert process.stderr is not None
    begun: dict[str, float] = {}
    said = []
    for line in process.stderr:
        said.append(line)
        if phase := next((each for each in PHASES if line.strip().startswith(each)), None):
            begun[phase] = time.monotonic()
    if process.wait() or len(begun) < len(PHASES):
        sys.exit(f"the run that nobody disturbed ended with {process.returncode}:\n{''.join(said)}")
    moments = [*begun.values(), time.monotonic()]
    phases = {name: after - before for name, before, after in zip(begun, moments, moments[1:], strict=False)}
    return Reference(place, hashes(place.run), moments[-1] - moments[0], phases)


def hashes(run: Path) -> dict[str, str]:
    """Of every network of a run, by its path in the run folder."""
    entries = [
        path for folder in ("stages", "exports") for path in (run / folder).glob("*") if ENTRY.fullmatch(path.name)
    ]
    found = [entry / name for entry in entries for name in PRODUCTS]
    return {
        str(path.relative_to(run)): sha256_file(path)
        for path in (*found, *(run / "bundle").glob("*.onnx"))
        if path.is_file() and not path.is_symlink()
    }
