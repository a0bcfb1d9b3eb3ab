import json
from pathlib import Path

import onnx
import pytest

from edgekd.bench.profile import cache
from edgekd.bench.profile.roofs import Roofs
from tests.bench.conftest import write_model
from tests.lint.graphs import Net
from tests.runtimes.onnxruntime.networks import RESIDUAL_MACS, residual

ROOFS = Roofs(1, {"float32": 50.0, "int8": 100.0}, ((1 << 15, 100.0), (1 << 24, 50.0), (1 << 28, 20.0)))


@pytest.fixture
def known_roofs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.cached_roofs(1, lambda threads: ROOFS)


def test_table_figures_picture_and_trace(edgekd, known_roofs, tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("png", "json", "trace")}
    outcome = edgekd(
        *("profile", residual(tmp_path / "small.onnx"), "--runs", 5, "--top", 3),
        *("--picture", files["png"], "--json", files["json"], "--trace", files["trace"]),
    )
    assert outcome.code == 0, outcome.err
    assert "the 3 of" in outcome.out
    assert "GMAC/s in int8" in outcome.out
    document = json.loads(files["json"].read_text())
    assert {layer["name"]: layer["macs"] for layer in document["layers"] if layer["macs"]} == RESIDUAL_MACS
    assert sum(layer["of_total"] for layer in document["layers"]) == pytest.approx(1)
    assert document["summary"]["macs"] == sum(RESIDUAL_MACS.values())
    assert document["roofs"]["peak"] == ROOFS.peak
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert json.loads(files["trace"].read_text())["traceEvents"]


def test_json_alone_on_standard_output(edgekd, known_roofs, tmp_path):
    outcome = edgekd("profile", residual(tmp_path / "small.onnx"), "--runs", 3, "--batch", 2, "--json", "-")
    assert json.loads(outcome.out)["batch"] == 2


def test_a_quantised_file_with_layers_in_float_points_to_the_linter(edgekd, known_roofs, tmp_path):
    path = tmp_path / "half.onnx"
    net = Net()
    onnx.save(net.model(net.conv(net.pair(net.conv(net.pair("x"))))), path)
    said = edgekd("profile", path, "--runs", 3).err
    assert f"of this quantised file's layers run in float: 'edgekd lint {path} --target onnxruntime-" in said
    assert "edgekd lint" not in edgekd("profile", residual(tmp_path / "small.onnx"), "--runs", 3).err


def test_open_dimensions_have_the_size_that_is_asked_for(edgekd, known_roofs, tmp_path):
    path = write_model(tmp_path / "open.onnx", width=8, shape=["batch", "time", 8])
    outcome = edgekd("profile", path, "--runs", 3, "--size", "time=4")
    assert "batch 1, time=4" in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx"], "no such file: nowhere.onnx; give .onnx files or bundle folders"),
        (["broken.onnx"], "broken.onnx does not load in ONNX Runtime"),
        (["open.onnx"], "loads but does not run with width=1 (--size gives other sizes)"),
        (["open.onnx", "--runs", "0"], "0 runs are nothing to take a median of; give --runs 1 or more"),
        (["open.onnx", "--shape", "1,x"], "--shape 1,x: expected positive numbers with commas"),
        (["open.onnx", "--picture", "p.jpg"], "--picture p.jpg: expected a file that ends in .png or .svg"),
    ],
)
def test_bad_input_is_one_line(edgekd, known_roofs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.onnx").write_text("no graph")
    write_model(tmp_path / "open.onnx", shape=["batch", "width"])
    outcome = edgekd("profile", *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    [line] = [line for line in outcome.err.splitlines() if not line.startswith("warning")]
    assert message in line


def test_a_network_in_pytorch(edgekd, known_roofs, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))\n"
    )
    outcome = edgekd("profile", f"{tmp_path / 'net.py'}:make", "--shape", "1,3,8,8", "--runs", 3, "--json", "-")
    layers = {layer["name"]: layer["macs"] for layer in json.loads(outcome.out)["layers"]}
    assert layers["0"] == 4 * 6 * 6 * 27
    assert layers["2"] == 144 * 2


def test_an_engine_is_for_another_tool(edgekd, tmp_path):
    (tmp_path / "a.engine").touch()
    assert "edgekd devices layers" in edgekd("profile", tmp_path / "a.engine").err


def test_a_network_of_a_run_is_a_function_that_loads_it():
    from edgekd.cli.workloads import workload

    folder = Path(__file__).parents[1] / "frozen/written/pruned"
    found = workload(str(folder), "pytorch", "cpu", None, None)
    path, _, function = found.model.partition(":")
    assert Path(path).is_file() and f"def {function}(" in Path(path).read_text()
    assert found.args == {"folder": str(folder)}
