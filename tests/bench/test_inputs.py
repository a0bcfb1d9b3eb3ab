"""Inputs of files with several, open dimensions and integers."""

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.agent.inputs import Declared, open_sizes, values
from edgekd.artifact import capture
from edgekd.bench.inputs import with_sizes
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.profile.profiler import profile_workload
from edgekd.bench.runtimes import open_session
from edgekd.cli.workloads import parse_sizes, workload
from edgekd.errors import MeasurementError
from edgekd.export import export_onnx
from edgekd.models import code_of
from edgekd.spec import Spec
from tests.several_tensors import LONGEST, VOCABULARY, tagger


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    network, signature = tagger()
    return export_onnx(network, tmp_path_factory.mktemp("bench") / "tagger.onnx", None, inputs=signature)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A file of another tool: two named open dimensions, and indices of a table."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "memory"], ["scores"]),
        ],
        "foreign",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "time"]),
            helper.make_tensor_value_info("memory", TensorProto.FLOAT, ["n", 4, "past + 1"]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor("table", TensorProto.FLOAT, [7, 4], np.arange(28))],
    )
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_sizes_are_those_given_those_of_the_examples_or_1(file, foreign):
    def sizes(path, shape=None, **given):
        return with_sizes(Workload(str(path), shape=shape, sizes=given)).sizes

    assert sizes(file) == {"length": 9}
    assert sizes(file, length=3) == sizes(file, shape=(1, 3)) == {"length": 3}
    assert sizes(foreign) == {"time": 1, "past + 1": 1}
    assert sizes(foreign, **{"past + 1": 5}) == {"time": 1, "past + 1": 5}
    assert open_sizes([Declared("x", ["n", "n", 3])], Workload("")) == {}
    with pytest.raises(MeasurementError, match=re.escape("--size lenght=3: open are length (did you mean 'length'?)")):
        sizes(file, lenght=3)
    with pytest.raises(MeasurementError, match="it has no named open dimension beyond its batch"):
        open_sizes([Declared("input", ["batch", 3])], Workload("", sizes={"batch": 3}))


def test_a_session_makes_inputs_of_these_sizes_within_the_bounds_of_the_signature(file, foreign):
    session = open_session(Workload(str(file), sizes={"length": 30}), batch=4)
    tokens, mask = session.feeds["tokens"], session.feeds["mask"]
    assert tokens.shape == mask.shape == (4, 30) and session.batch == 4
    assert tokens.min() >= 0 and 40 < tokens.max() < VOCABULARY and 0 <= mask.min() < mask.max() <= 1
    tags, score = session.run()
    assert tags.shape == (4, 30, 5) and score.shape == (4, 2)
    assert open_session(Workload(str(file))).feeds["tokens"].shape == (1, 9)
    other = open_session(Workload(str(foreign), sizes={"past + 1": 5}), batch=2)
    assert other.feeds["ids"].shape == (2, 1) and not other.feeds["ids"].any()
    assert other.feeds["memory"].shape == (2, 4, 5)
    assert open_session(Workload(str(file), shape=(3, 6))).feeds["mask"].shape == (3, 6)
    scores, rows = other.run()
    assert scores.shape == (2, 1, 5) and rows.shape == (2, 1, 4)


def test_a_damaged_signature(file, tmp_path):
    model = onnx.load(file)
    next(each for each in model.metadata_props if each.key.endswith("signature")).value = "[]"
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(MeasurementError, match="the signature in the file's metadata is damaged"):
        open_session(Workload(str(tmp_path / "damaged.onnx")))


def test_values_stay_within_bounds():
    random = np.random.default_rng(0)
    assert set(values((100,), np.int64, random, (3.0, 5.0)).tolist()) == {3, 4, 5}
    assert not values((5,), np.int64, random).any()
    drawn = values((100,), np.float16, random, (-30.0, 0.0))
    assert drawn.dtype == np.float16 and -30 <= drawn.min() < -20 and drawn.max() <= 0
    assert values((100,), np.float32, random, (2.0, np.inf)).min() >= 2, "a bound on one side alone"
    assert values((9,), np.bool_, random, (0.0, 1.0)).dtype == np.bool_


def test_layers_are_profiled_at_the_size_that_was_asked_for(file):
    macs = {}
    for length in (5, 10):
        profile = profile_workload(Workload(str(file), sizes={"length": length}), 1, 1, 3)
        macs[length] = sum(layer.macs for layer in profile.layers)
    assert macs[5] == 5 * (16 * 32 + 32 * 5) + 32 * 2
    assert macs[10] == 10 * (16 * 32 + 32 * 5) + 32 * 2


def test_plans_say_sizes_only_where_there_are_some(file):
    plain, sized = Workload("m.onnx"), Workload("m.onnx", sizes={"length": 4})
    assert "sizes" not in plain.to_json() and "sizes" not in Plan({"a": plain}).to_json()["workloads"]["a"]
    plan = Plan({"a": sized})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    with pytest.raises(MeasurementError, match="length must be"):
        Workload("m.onnx", sizes={"length": 0})


def run(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgekd", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_bench_says_the_sizes(file, tmp_path):
    options = ["--seconds", 0.1, "--max-seconds", 0.1, "--launches", 1]
    found = run("bench", file, *options, "--json", tmp_path / "out.json")
    assert found.returncode == 0, found.stderr
    assert "with length=9 (--size)" in found.stdout
    [model] = json.loads((tmp_path / "out.json").read_text())["models"]
    assert model["sizes"] == {"length": 9}


def test_a_stage_of_several_inputs_is_timed_in_pytorch(tmp_path):
    network, signature = tagger()
    (tmp_path / "net.py").write_text("from tests.several_tensors import Tagger\n\n\ndef make():\n    return Tagger()\n")
    builder = f"{tmp_path / 'net.py'}:make"
    spec = Spec(builder, (), 1, code=code_of(builder, (), 1, {}, signature), signature=signature)
    capture(network, spec).save(tmp_path / "stage")
    folder = str(tmp_path / "stage")
    made = workload(folder, "pytorch", "cpu")
    assert made.sizes == {"length": 9} and Workload.from_json(json.loads(json.dumps(made.to_json()))) == made
    session = open_session(workload(folder, "pytorch", "cpu", sizes={"length": 20}), batch=3)
    assert [each.shape for each in session.inputs] == [(3, 20), (3, 20)]
    assert session.run()["tags"].shape == (3, 20, 5) and session.batch == 3
    for given, said in (
        ({"sizes": {"lenght": 3}}, "no input has an open dimension 'lenght'; open are length"),
        ({"sizes": {"length": LONGEST + 1}}, "has examples of 41, outside of 1 to 40"),
        ({"shape": (1, 9)}, "names the shapes of its inputs; leave out --shape"),
    ):
        with pytest.raises(MeasurementError, match=said):
            workload(folder, "pytorch", "cpu", **given)


def test_sizes_on_the_command_line():
    assert parse_sizes(["length=3", "past + 1=4"]) == {"length": 3, "past + 1": 4}
    for text in ("length", "=3", "length=0", "length=a"):
        with pytest.raises(MeasurementError, match=f"--size {text}: expected a dimension's name and a positive number"):
            parse_sizes([text])
