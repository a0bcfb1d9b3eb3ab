"""A whole chain small enough for a test: digits of 8x8 pixels, two tiny networks, seconds of training."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock

from edgekd.agent.blocks import TimedBlock
from edgekd.bench import LatencyRecord, MemoryRecord, Plan, Workload
from edgekd.bench.launch import Launch
from edgekd.bench.records import SessionInfo
from edgekd.bench.runner import record

if TYPE_CHECKING:
    from edgekd.pipeline.stage_result import StageResult
    from edgekd.recipe import Recipe

RECIPE = """\
name: toy
seed: 0
data: {source: digits, train_limit: 400, test_limit: 100, batch_size: 50}
teacher:
  model: small_cnn
  args: {width: 16}
  train: {epochs: 2, lr: 0.1}
student: {model: small_cnn, args: {width: 8}}
stages:
  - distill: {epochs: 2}
  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}
  - quantize: {epochs: 1, rungs: [qat], placement: int8}
budget: {accuracy_drop: 100}
"""

SHORT = RECIPE.replace("  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", "")


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text)
    return path


def run_stages(recipe: "Recipe", folder: Path) -> "list[StageResult]":
    """The stages alone: nothing is exported, measured or packed."""
    from edgekd.data import load_data
    from edgekd.files import make_folder
    from edgekd.pipeline.log import RunLog
    from edgekd.pipeline.node import NodeCache
    from edgekd.pipeline.runner import StageRunner
    from edgekd.pipeline.start import starts_of

    data, nodes = load_data(recipe.data, recipe.seed), NodeCache(make_folder(folder))
    log = RunLog(folder / "log.jsonl", recipe.written)
    return StageRunner(recipe, data, starts_of(recipe, data), nodes, log).run()[1]


def product_hashes(run: Path) -> dict[str, str]:
    """The sha256 of every network and ONNX file of a run, by its path in the run folder."""
    from edgekd.files import sha256_file

    names = ("model.json", "weights.safetensors", "model.onnx", "metrics.json")
    return {
        str(path.relative_to(run)): sha256_file(path)
        for folder in ("stages", "exports")
        for path in sorted((run / folder).rglob("*"))
        if path.name in names
    }


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder ``name`` that ``make`` filled, in the first of the processes that share these tests."""
    base = factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def brief_measurements(patch: pytest.MonkeyPatch, profiles: bool = False) -> None:
    """Figures that are there and mean nothing; ``profiles`` for layers too, which take seconds."""
    from edgekd.bench import quiet_moment
    from edgekd.pipeline import measure

    brief_warm_up(patch)
    patch.setattr(quiet_moment, "PATIENCE_S", 0)

    patch.setattr(measure, "SECONDS", 0.1)
    patch.setattr(measure, "LAUNCHES", 2)
    patch.setattr(measure, "PROFILE_RUNS", 2)
    patch.setattr("edgekd.bench.runner.LONGEST", 1)  # no more launches for narrower intervals
    for module in ("measure", "remote"):
        patch.setattr(f"edgekd.pipeline.{module}.Plan", partial(Plan, warmup_s=0.02))
    if not profiles:
        patch.setattr(measure, "ends", lambda labels: [])


def brief_warm_up(patch: pytest.MonkeyPatch) -> None:
    """Of engines: the double of trtexec sleeps as long as the real one would warm up."""
    patch.setattr("edgekd.runtimes.tensorrt.trtexec.command.WARMUP_MS", 50)


def fixed_times(patch: pytest.MonkeyPatch) -> None:
    """A test double of this machine's clock: each file takes a time by its size, with nothing at work beside it."""
    patch.setattr("edgekd.pipeline.measure.carry_out", timed_by_size)
    patch.setattr("edgekd.pipeline.measure.peak_memory", lambda workload, *_: MemoryRecord(60_000_000, 40_000_000))
    patch.setattr("edgekd.pipeline.measure.ends", lambda labels: [])
    patch.setattr("edgekd.bench.target.measure", timed_by_size)


def blank_pictures(patch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of a run's page empty: to draw them takes a second of each run."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    blank = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    patch.setattr(FigureCanvasSVG, "print_svg", lambda _, file, **__: file.write(blank))


def timed_by_size(plan: Plan, *_: object, **__: object) -> dict[str, LatencyRecord]:
    launches = [launch(plan, number) for number in range(plan.launches)]
    return {name: record(plan, name, launches) for name in plan.workloads}


def launch(plan: Plan, number: int) -> Launch:
    opened = dict.fromkeys(plan.workloads, SessionInfo(1.0, 1.0, ["CPUExecutionProvider"], 1, [0]))
    rounds = {name: [block(workload, number, n) for n in range(30)] for name, workload in plan.workloads.items()}
    return Launch(opened, rounds, {name: {} for name in plan.workloads}, np.array([[1.0, 0.0]]))


def block(workload: Workload, number: int, round_: int) -> TimedBlock:
    """Twenty inferences, within a percent of each other."""
    noise = np.random.default_rng([number, round_]).uniform(0.995, 1.005, 20)
    times = (noise * (20_000 + Path(workload.model).stat().st_size)).astype(np.int64)
    return TimedBlock(times.tolist())
