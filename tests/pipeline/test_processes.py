"""A recipe by two real processes, against one process with twice the batch."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.toy import RECIPE, write_recipe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
UNTIMED = (
    RECIPE.replace("batch_size: 50", "batch_size: 25, augment: [crop]")
    + "targets: [{device: elsewhere, architecture: x86}]\n"
)
DISTILLED = UNTIMED.replace("  - distill: {epochs: 2}", "  - distill: {epochs: 2, also: [{method: at}], views: 2}")
DISTILLED = DISTILLED[: DISTILLED.index("  - prune")] + DISTILLED[DISTILLED.index("budget") :]
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "edgekd")
ALONE = (sys.executable, "-m", "edgekd")
IN_FLOAT32 = "tests.in_float32"


@contextmanager
def running(start: tuple[str, ...], recipe: Path, out: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    command = [*start, "run", recipe, "--out", out, *more]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=recipe.parent
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def finish(start: tuple[str, ...], recipe: Path, out: Path, *more: str) -> str:
    with running(start, recipe, out, *more) as process:
        shown, said = process.communicate()
    assert process.returncode == 0, said
    assert shown.count("report  ") == 1
    return said


def report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def test_a_distillation_gives_the_report_of_one_process(tmp_path):
    recipe = write_recipe(tmp_path, DISTILLED)
    said = finish((*TOGETHER[:-1], IN_FLOAT32), recipe, tmp_path / "two")
    finish((*ALONE[:-1], IN_FLOAT32), recipe, tmp_path / "one", "--set", "data.batch_size=50")
    assert said.count("distill: starts") == 1 and said.count("teacher's outputs: ") == 1
    two, one = report(tmp_path / "two"), report(tmp_path / "one")
    for ours, theirs in zip(two["stages"], one["stages"], strict=True):
        for mine, other in zip(ours["metrics"]["history"], theirs["metrics"]["history"], strict=True):
            assert mine["loss"] == pytest.approx(other["loss"], abs=1e-4)
            assert mine["validation_accuracy"] == other["validation_accuracy"]
    for ours, theirs in zip(two["rows"], one["rows"], strict=True):
        for key in ("model", "runtime", "precision", "accuracy", "n", "params", "macs"):
            assert ours[key] == theirs[key]
    assert not list((tmp_path / "two").rglob(".work-*"))


def test_all_stages_by_two_and_a_death_in_the_middle(tmp_path):
    recipe, out = write_recipe(tmp_path, UNTIMED), tmp_path / "run"
    with running(TOGETHER, recipe, out) as process:
        for line in process.stderr:
            if "distill 1/2" in line:
                break
        time.sleep(0.2)
        of_rank = {worker.environ().get("RANK"): worker for worker in psutil.Process(process.pid).children()}
        of_rank["1"].send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
    assert process.returncode != 0
    assert not (out / "report.json").exists()
    said = finish(TOGETHER, recipe, out)
    assert "teacher: done before" in said
    found = report(out)
    assert [stage["name"] for stage in found["stages"]] == ["teacher", "distill", "prune", "quantize"]
    assert found["rows"][-1]["precision"] == "int8"
    assert not list(out.rglob(".work-*"))


def test_a_refusal_is_said_once_and_ends_all(tmp_path):
    recipe = write_recipe(tmp_path, UNTIMED.replace("source: digits", "source: npz, path: nowhere.npz"))
    with running(TOGETHER, recipe, tmp_path / "run") as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert len([line for line in said.splitlines() if "error: " in line and "nowhere.npz" in line]) == 1
