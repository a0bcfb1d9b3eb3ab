"""All that computes for long holds the lock: what trains shares it and gives way, what times has it alone."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.bench import Workload, interleave, memory, peak_memory, sample
from edgekd.machine_lock import lock
from edgekd.models.batchnorm import reestimate
from edgekd.prune.importance import collect_gradients
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.adaround import adaround
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.fake_quant import fake_quants
from edgekd.quantize.rounding import RoundingSearch
from edgekd.quantize.sensitivity import sensitivities
from tests.house import HOUSE
from tests.machine_lock.test_lock import folder as folder
from tests.machine_lock.test_lock import held

SHAPE = (3, 8, 8)

# Calls that compute for long: of a network with whatever its inputs are, of a clock, of a process that times.
LONG = {
    *("LayerwiseForward", "LocalJob", "ask_once", "backward", "build_serialized_network", "call", "collect", "grad"),
    *("run_block", "run_once", "take_turns", "warm_up"),
}
NETWORKS = {"graph", "network", "teacher"}

A_GLANCE = "one or two samples, to see what the network does"
IN_A_PROFILE = "in a process of a profile, whose parent times"
IN_A_TRAINING = "a part of a training or an evaluation, which holds it"
# Who computes without the lock, and why.
WITHOUT = {
    "bench/local_agent.py": "whoever has the agent work holds it",
    "bundle/session.py": "a bundle predicts for its user, and waits for nobody",
    "devices/local.py": "the agent says what this machine is, and times nothing",
    "distill/balance.py": IN_A_TRAINING,
    "distill/ensemble.py": IN_A_TRAINING,
    "distill/fusion.py": A_GLANCE,
    "distill/objective.py": IN_A_TRAINING,
    "distill/probe.py": A_GLANCE,
    "distill/teacher_runner.py": "whoever keeps or reads the teacher's outputs holds it",
    "factorize/layers.py": A_GLANCE,
    "models/signature.py": A_GLANCE,
    "models/size.py": A_GLANCE,
    "pipeline/network_check.py": A_GLANCE,
    "prune/depth.py": A_GLANCE,
    "prune/graph.py": A_GLANCE,
    "prune/halves.py": A_GLANCE,
    "prune/latency/network.py": A_GLANCE,
    "prune/verification.py": A_GLANCE,
    "runtimes/onnxruntime/peak.py": IN_A_PROFILE,
    "runtimes/onnxruntime/profile.py": IN_A_PROFILE,
    "runtimes/openvino/profile.py": IN_A_PROFILE,
    "runtimes/pytorch/profile.py": IN_A_PROFILE,
    "runtimes/pytorch/session.py": "whoever opens a session holds it",
    "runtimes/tensorrt/builder.py": "no command builds an engine here; a program that does may hold it",
    "runtimes/tensorrt/profile.py": IN_A_PROFILE,
    "search/step_times.py": IN_A_TRAINING,
    "stages/network.py": A_GLANCE,
    "tasks/signature.py": "the call itself",
    "train/objective.py": IN_A_TRAINING,
}


def computes(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            # `userfile.call` is of a user's function.
            is_long = name in LONG and (name != "call" or isinstance(node.func, ast.Name))
            if is_long or (name in NETWORKS and isinstance(node.args[0], ast.Starred)):
                return True
    return False


def knows_the_lock(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.module == "edgekd.machine_lock" for node in ast.walk(tree))


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE)
        # The agent is a process of whoever asks it.
        if name.parts[0] != "agent":
            yield name, ast.parse(path.read_text())


def test_who_computes_without_the_lock():
    assert {name.as_posix() for name, tree in trees() if computes(tree) and not knows_the_lock(tree)} == set(WITHOUT)


class Watch:
    """What the lock is at each forward pass, and since when it is held."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.found: list[str | None] = []
        self.since: list[float] = []

    def __call__(self, *_: object) -> None:
        self.found.append(held(self.folder))
        self.since.append(lock._process.since)


@pytest.fixture
def watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(lock, "PIECE_S", 0)
    return Watch(folder)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(144, 4)
    )


def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return list(torch.rand(12, *SHAPE).split(4))


def gradients(watched: nn.Module) -> None:
    for kind in ("batch", "sample"):
        with collect_gradients(watched, [(each, torch.zeros(4).long()) for each in batches()], F.cross_entropy, kind):
            pass


OF_NETWORKS = {"gradients": gradients, "statistics": lambda watched: reestimate(watched, batches())}
OF_GRAPHS = {
    "adaround": lambda graph: adaround(graph, batches(), RoundingSearch(iterations=5, batch_size=8), positions=64),
    "biases": lambda graph: correct_biases(graph, batches()),
    "calibration": lambda graph: calibrate(graph, batches()),
    "sensitivities": lambda graph: sensitivities(graph, batches()),
}


@pytest.mark.parametrize("work", OF_NETWORKS.values(), ids=OF_NETWORKS)
def test_passes_of_a_network_are_training(watch: Watch, work: Callable[[nn.Module], Any]):
    watched = network()
    watched.register_forward_pre_hook(watch)
    work(watched)
    must_give_way(watch)


@pytest.mark.parametrize("work", OF_GRAPHS.values(), ids=OF_GRAPHS)
def test_passes_of_a_graph_are_training(watch: Watch, work: Callable[[GraphModule], Any]):
    graph = prepare(network().eval(), SHAPE)
    calibrate(graph, batches())
    for module in fake_quants(graph).values():
        module.register_forward_pre_hook(watch)
    work(graph)
    must_give_way(watch)


def must_give_way(watch: Watch) -> None:
    assert set(watch.found) == {"training"}
    assert len(set(watch.since)) > 2, "it lets a timing in between"
    assert held(watch.folder) is None


def test_peak_memory_is_no_time(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    def ask_once(*_: object) -> dict[str, int]:
        watch()
        return {"peak_rss_bytes": 2, "baseline_rss_bytes": 1}

    monkeypatch.setattr(peak_memory, "ask_once", ask_once)
    memory(Workload("model.onnx"))
    assert watch.found == ["training"] and held(watch.folder) is None


def test_times_of_calls_in_a_process_are_timing(watch: Watch):
    sample(watch, 0, 1, seconds=0, min_runs=3)
    interleave({"a": watch, "b": watch}, 0.001, block_runs=1)
    assert set(watch.found) == {"timing"} and held(watch.folder) is None
