import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.target import LocalTarget
from edgekd.devices.registry import Device
from edgekd.devices.targets import RemoteTarget
from edgekd.prune.latency.readings import fast_mean, readings
from tests.devices.conftest import clean as clean
from tests.devices.conftest import sshd as sshd

EDGE = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 300, 300])


def products(count: int) -> onnx.ModelProto:
    names = ["x", *(f"y{index}" for index in range(count))]
    nodes = [helper.make_node("MatMul", ["x", name], [f"y{index}"], name=f"product_{index}") for index, name in
             enumerate(names[:-1])]  # fmt: skip
    result = helper.make_tensor_value_info(names[-1], onnx.TensorProto.FLOAT, ["batch", 300, 300])
    graph = helper.make_graph(nodes, "products", [EDGE], [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_fastest_fifth():
    times = np.random.default_rng(0).permutation(np.arange(1, 51))
    assert fast_mean(times) == np.mean(np.arange(1, 11))
    assert fast_mean([7, 3]) == 3


@pytest.fixture(params=["here", "there"])
def take(request) -> Callable[[InterleavedRuns], InterleavedTimes]:
    """In a process of this machine's agent, and of the one behind sshd on this machine."""
    if request.param == "here":
        return LocalTarget().interleave
    server = request.getfixturevalue("clean")
    there = RemoteTarget(Device("desk", "board", sys.executable, ssh_config=str(server.config)))
    there.__enter__()
    request.addfinalizer(there.__exit__)
    return there.interleave


def test_each_kernel_is_read(take, tmp_path):
    files = {name: tmp_path / f"{name}.onnx" for name in ("three", "one")}
    for name, count in (("three", 3), ("one", 1)):
        onnx.save(products(count), files[name])
    turns = InterleavedRuns(files, ("three", "one", "one"), ("three",), threads=1, warmup=1, least=5, most=5)
    taken = take(turns)
    # Of an inference that others disturbed the time is not known.
    assert taken.times_ns.shape == (5, 3) and not (taken.times_ns <= 0).any()
    assert np.nanmin(taken.times_ns[:, 0]) > np.nanmin(taken.times_ns[:, 2])
    assert list(taken.traces) == ["three"]
    read = readings(taken, turns, "three")
    assert [reading.name for reading in read] == ["product_0", "product_1", "product_2"]
    for reading in read:
        times = [kernel.duration for kernel in taken.traces["three"].kernels if kernel.name == reading.name]
        assert len(times) == 6
        assert reading.ms == (min(times[1:]) + 0.5) / 1e3  # a fifth of five is one
        assert reading.op == "MatMul"


def test_turns_go_on_until_the_time_is_over(take, tmp_path):
    onnx.save(products(1), tmp_path / "one.onnx")
    models = {"one": tmp_path / "one.onnx"}
    assert (
        len(take(InterleavedRuns(models, ("one",), (), 1, warmup=0, least=2, most=10_000, seconds=0.0)).times_ns) == 2
    )
    assert len(take(InterleavedRuns(models, ("one",), (), 1, warmup=0, least=2, most=7, seconds=60.0)).times_ns) == 7
