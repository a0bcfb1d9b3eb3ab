"""Two real processes by torchrun, on the CPU by gloo, against one process."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekd.train import distributed
from tests.train.training_script import train

ROOT = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
KINDS = ("labels", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("features", "frozen")))


def start(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run([*TORCHRUN, *arguments], env=environment, capture_output=True, text=True, cwd=ROOT)


def train_by_two(out: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return start(ROOT / "tests" / "train" / "training_script.py", out, *arguments)


def ranks(out: Path) -> list[dict[str, Any]]:
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory):
    """The folder, the ended command and what each process has of a kind of training."""

    @cache
    def run(kind: str) -> tuple[Path, "subprocess.CompletedProcess[str]", list[dict[str, Any]]]:
        out = tmp_path_factory.mktemp("by_two")
        ended = train_by_two(out, kind)
        assert ended.returncode == 0, ended.stderr
        return out, ended, ranks(out)

    return run


@pytest.fixture
def by_two(trained_by_two, kind):
    """What each of two processes has of ``kind``."""
    return trained_by_two(kind)[2]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_with_twice_the_batch(by_two, kind):
    """With BatchNorm, augmentation, clipped gradients; adapters of features; layers that are frozen."""
    alone, two = train(32, kind=kind), by_two[0][kind]
    pairs = list(zip(two["history"], alone["history"], strict=True))
    assert len(pairs) == 3
    for ours, theirs in pairs:
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
        assert ours.get("terms", {}) == pytest.approx(theirs.get("terms", {}), abs=1e-4)
        assert ours["validation_accuracy"] == theirs["validation_accuracy"]
    print(f"largest difference of {kind}: {max(abs(a['loss'] - b['loss']) for a, b in pairs):.1e}")
    # Sums in another order differ by a last bit, which a ReLU at zero now and then makes more of.
    for name, value in alone["weights"].items():
        torch.testing.assert_close(torch.tensor(two["weights"][name]), torch.tensor(value), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_all_processes_end_with_the_same_bits_and_the_same_history(by_two, kind):
    first, second = by_two
    assert first[kind] == second[kind]


def test_one_speaks_and_one_writes(trained_by_two):
    out, ended, _ = trained_by_two("labels")
    assert ended.stderr.count("training 1/3") == 1
    assert "Warning" not in ended.stderr
    assert len(list((out / "labels").iterdir())) == 1


def test_what_the_collectives_give(trained_by_two):
    for rank, found in enumerate(trained_by_two("labels")[2]):
        assert found["words"] == {
            "rank": rank,
            "on_rank_zero": "from rank 0",
            "mean": 0.5,
            "maximum": 1.0,
            "shard": [rank, 2 + rank, 4 + rank],
            "all_gather": [0, 1, 2, 3, 4, 5],
            "rank_zero_first": rank,
            "refused": "the first one refuses",
        }


def test_alone_there_is_nothing_to_do():
    values = torch.arange(5.0)
    assert (distributed.world_size(), distributed.rank(), distributed.is_rank_zero()) == (1, 0, True)
    assert all(
        collective(values) is values for collective in (distributed.mean, distributed.all_gather, distributed.maximum)
    )
    assert torch.equal(distributed.shard(values), values)
    assert [call(lambda: 3) for call in (distributed.on_rank_zero, distributed.rank_zero_first)] == [3, 3]
    assert distributed.broadcast(3) == 3
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_the_death_of_one_ends_all_and_the_same_command_goes_on(tmp_path, trained_by_two):
    died = train_by_two(tmp_path, "labels", "--die")
    assert died.returncode != 0
    assert "training 2/3" in died.stderr and "training 3/3" not in died.stderr
    assert not list(tmp_path.glob("rank-*"))
    again = train_by_two(tmp_path, "labels")
    assert again.returncode == 0, again.stderr
    assert "goes on from step" in again.stderr
    first, second = ranks(tmp_path)
    assert first["labels"] == second["labels"] == trained_by_two("labels")[2][0]["labels"]
